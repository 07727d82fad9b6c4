"""Kubernetes pools: prices per context, and only where SkyPilot may rent."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.kubernetes import current_context, kubernetes_pools
from manager.prices.sky_config import PoolReading, load_sky_config

NOW_S = 2_000_000_000.0

TWO = """
kubernetes:
  pricing: {cpu: 0.04, memory: 0.005, accelerators: {A100: 3.0, L4: 0.6}}
  context_configs:
    prod: {pricing: {accelerators: {A100: 2.0}}}
    lab: {}
"""


def read(tmp_path: Path, text: str, current: str | None = None) -> PoolReading:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    os.utime(path, (NOW_S - 60, NOW_S - 60))
    return kubernetes_pools(load_sky_config(path, now_s=NOW_S), current_context=current)


def priced(reading: PoolReading) -> dict[str, Decimal | None]:
    """Of one accelerator each."""
    return {offer.key: offer.price_usd_per_hour for offer in reading.offers if offer.accelerator_count == 1}


def test_price_of_the_context_wins_over_the_cloud(tmp_path: Path) -> None:
    assert priced(read(tmp_path, TWO)) == {
        "kubernetes/prod/-/A100:1/on-demand": Decimal("2.0"),
        "kubernetes/prod/-/L4:1/on-demand": Decimal("0.6"),
        "kubernetes/lab/-/A100:1/on-demand": Decimal("3.0"),
        "kubernetes/lab/-/L4:1/on-demand": Decimal("0.6"),
    }


def test_offer_says_what_it_is(tmp_path: Path) -> None:
    offers = read(tmp_path, TWO).offers
    eight = next(offer for offer in offers if offer.key == "kubernetes/prod/-/A100:8/on-demand")
    assert eight.price_usd_per_hour == Decimal(16)
    assert (eight.accelerator_memory_bytes, eight.instance_type, eight.zones) == (40 * 2**30, None, ())
    assert (eight.price_source, eight.price_age_s) == ("SkyPilot config config.yaml, Kubernetes context prod", 60.0)
    assert not any(offer.use_spot or offer.accelerator is None for offer in offers)


def test_only_allowed_contexts_are_offered_and_others_are_said(tmp_path: Path) -> None:
    reading = read(tmp_path, TWO + "  allowed_contexts: [lab, other]\n")
    assert {offer.region for offer in reading.offers} == {"lab", "other"}
    assert len(reading.notes) == 1
    assert reading.notes[0].startswith("Kubernetes: prod left out")


def test_without_allowed_contexts_the_current_one_holds(tmp_path: Path) -> None:
    reading = read(tmp_path, TWO, current="prod")
    assert {offer.region for offer in reading.offers} == {"prod"}
    assert reading.notes == ()


def test_all_contexts_are_those_of_the_configuration(tmp_path: Path) -> None:
    reading = read(tmp_path, TWO + "  allowed_contexts: all\n", current="prod")
    assert {offer.region for offer in reading.offers} == {"prod", "lab"}


def test_price_without_any_context_leaves_the_choice_to_skypilot(tmp_path: Path) -> None:
    reading = read(tmp_path, "kubernetes: {pricing: {accelerators: {H100: 2.5}}}")
    assert priced(reading) == {"kubernetes/-/-/H100:1/on-demand": Decimal("2.5")}


def test_name_of_an_eks_context_is_kept_whole(tmp_path: Path) -> None:
    name = "arn:aws:eks:us-east-1:1:cluster/c"
    reading = read(tmp_path, f'kubernetes: {{context_configs: {{"{name}": {{pricing: {{accelerators: {{L4: 1}}}}}}}}}}')
    assert {offer.region for offer in reading.offers} == {name}


def test_zero_is_unknown_and_an_unknown_accelerator_is_said(tmp_path: Path) -> None:
    reading = read(tmp_path, "kubernetes: {pricing: {accelerators: {L4: 0, Abacus: 1}}}", current="c")
    assert priced(reading)["kubernetes/c/-/L4:1/on-demand"] is None
    assert reading.notes == ("Kubernetes: no specification of Abacus; such offers cannot be estimated",)


@pytest.mark.parametrize("text", ["", "aws: {}", "kubernetes:", "kubernetes: {pricing: {cpu: 0.1}}"])
def test_nothing_priced_is_no_offer(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text, current="c") == PoolReading(offers=(), notes=())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kubernetes: {pricing: {accelerators: {A100: -1}}}", "kubernetes.pricing.accelerators.A100 is -1"),
        ("kubernetes: {context_configs: [a]}", "kubernetes.context_configs is"),
        ("kubernetes: {context_configs: {a: {pricing: 3}}}", "kubernetes.context_configs.a.pricing is 3"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PriceError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("current-context: prod", "prod"),
        ('current-context: "kind-a"  ', "kind-a"),
        ("current-context: arn:aws:eks:us-east-1:1:cluster/c\r", "arn:aws:eks:us-east-1:1:cluster/c"),
        ('current-context: ""', None),
        ("contexts: []", None),
    ],
)
def test_current_context_of_the_kubeconfig(tmp_path: Path, line: str, name: str | None) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(f"apiVersion: v1\n{line}\nkind: Config\n", encoding="utf-8", newline="")
    assert current_context(tmp_path) == name


def test_no_kubeconfig_is_no_context(tmp_path: Path) -> None:
    assert current_context(tmp_path) is None
