"""Where a model is put while it is read: on the accelerator at once, unless a head has to be drawn on the host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks import loading
from tasks.job import Job
from tasks.loading import load_pretrained

pytestmark = pytest.mark.torch


class _Recorded:
    """Stands for a class of transformers; remembers where models were asked for."""

    def __init__(self, missing: set[str]) -> None:
        self.missing = missing
        self.places: list[Any] = []

    def from_pretrained(self, folder: str, **arguments: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
        self.places.append(arguments.get("device_map"))
        return torch.nn.Linear(1, 1), {"missing_keys": self.missing, "mismatched_keys": []}


@pytest.fixture
def on_cuda(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job on a machine that says it has two devices, of which this process has the second."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 1)
    return replace(job, device="cuda")


@pytest.mark.parametrize(
    ("missing", "quantize", "places"),
    [
        (set(), None, ["meta", {"": 1}]),
        ({"classifier.weight"}, None, ["meta", None]),
        # What is exported is put together on the host.
        (set(), False, [None]),
    ],
)
def test_a_model_goes_to_the_accelerator_unless_its_head_is_drawn(
    on_cuda: Job, missing: set[str], quantize: bool | None, places: list[Any]
) -> None:
    auto_class = _Recorded(missing)
    loaded = load_pretrained(auto_class, Path("unused"), on_cuda, purpose="tests", quantize=quantize)
    assert auto_class.places == places
    assert loaded.missing == missing


def test_a_processor_loads_once(job: Job) -> None:
    auto_class = _Recorded(set())
    load_pretrained(auto_class, Path("unused"), replace(job, device="cpu"), purpose="tests")
    assert auto_class.places == [None]


def test_weights_put_on_a_device_are_those_of_the_file(
    tiny_lm: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of an accelerator, with the processor in its place."""
    from transformers import AutoModelForCausalLM

    usual = load_pretrained(AutoModelForCausalLM, tiny_lm, replace(job, device="cpu"), purpose="tests")
    monkeypatch.setattr(loading, "_CPU", "no accelerator")
    monkeypatch.setattr(loading, "_device", lambda job: "cpu")
    placed = load_pretrained(AutoModelForCausalLM, tiny_lm, job, purpose="tests")
    for (name, one), (_, other) in zip(usual.model.named_parameters(), placed.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    assert not any(hasattr(module, "_hf_hook") for module in placed.model.modules())
