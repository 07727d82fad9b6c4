"""Tables of architectures cover the catalog; what is in none of them is stated and taken at its largest."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from manager.catalog.accelerators import accelerator
from manager.workload.efficiencies import family_of
from manager.workload.link import link_of
from manager.workload.memory_device import architecture_of, memory_device

_FAMILIES = {"kepler": "pascal", "maxwell": "pascal"}
"""Speed takes the oldest cards as one family."""


def _catalog() -> list[dict[str, str]]:
    text = files("manager.catalog").joinpath("data", "accelerators.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_every_gpu_has_an_architecture_and_a_family_that_agree() -> None:
    gpus = [row["name"] for row in _catalog() if row["kind"] == "gpu"]
    assert len(gpus) > 60
    for name in gpus:
        architecture = architecture_of(name)
        assert architecture is not None, name
        assert family_of(name)[0].split("-")[0] == _FAMILIES.get(architecture, architecture), name


def test_every_accelerator_has_a_family() -> None:
    assert [row["name"] for row in _catalog() if family_of(row["name"])[0] == "*"] == []


@pytest.mark.parametrize("name", ["no-such-card", "MI300X", "P100"])
def test_a_card_whose_context_nobody_measured_takes_the_largest(name: str) -> None:
    device = memory_device(name)
    known = [memory_device(card["name"]) for card in _catalog() if card["kind"] == "gpu"]
    assert device.context_bytes == max(card.context_bytes for card in known)
    assert device.basis.startswith("the architecture of no-such-card is unknown") == (name == "no-such-card")
    assert memory_device("no-such-card").workspace_bytes == max(card.workspace_bytes for card in known)


def test_geforce_cards_of_blackwell_have_the_bus_of_blackwell() -> None:
    rates = {}
    for name in ("RTX5090", "RTX4090"):
        card = accelerator(name)
        assert card is not None
        link = link_of(card, family=family_of(name)[0], devices=4)
        assert link is not None
        rates[name] = link.bytes_per_s
    assert rates["RTX5090"] == 2 * rates["RTX4090"]
