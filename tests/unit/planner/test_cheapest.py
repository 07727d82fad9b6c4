"""The cheapest offers by bounds are those of the whole ranking, and most machines are not judged for them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.calibration import Calibration
from manager.planner.cheapest import cheapest
from manager.planner.plan import Estimate
from manager.spec.model import Budget, RunSpec, Where
from tests.support.market_factory import planner_of, random_offers, variant_of
from tests.support.plan_factory import make_gpu_offer, make_spec


def with_checkpointing(spec: RunSpec, is_on: bool) -> RunSpec:
    """The same job, with activations computed again for backward or not."""
    return replace(spec, training=replace(spec.training, gradient_checkpointing=is_on))


LIMITS = [
    (Where(spot=True), Budget()),
    (Where(), Budget(max_usd=Decimal("0.5"))),
    (Where(spot=True, max_nodes=4), Budget(deadline_hours=0.6)),
    (Where(spot=True, on_paper=True, regions=("us-east-1", "eu-west-1")), Budget(confidence=0.9, deadline_hours=2.0)),
    (Where(accelerators=("L4:1", "cpu")), Budget()),
]
VARIANTS = {
    "minilm": [variant_of(make_spec())],
    "tinyllama": [
        variant_of(with_checkpointing(make_spec(precision="bf16", batch_size=24), checkpointing), "tinyllama")
        for checkpointing in (False, True)
    ],
    "mistral": [replace(variant_of(make_spec(method="lora", precision="bf16"), "mistral"), shardings=("ddp", "fsdp"))],
}


def shown(estimates: list[Estimate]) -> list[tuple[object, ...]]:
    """What people see of each."""
    return [(one.cost_usd, one.hours, one.offer.key, one.offer.price_usd_per_hour, one.sharding) for one in estimates]


@pytest.mark.parametrize("limits", range(len(LIMITS)))
@pytest.mark.parametrize("name", VARIANTS)
def test_they_are_the_first_of_the_ranking(name: str, limits: int) -> None:
    where, budget = LIMITS[limits]
    for seed in range(3):
        offers = random_offers(100 * limits + seed, 150)
        whole = planner_of(offers, *VARIANTS[name]).rank(where, budget)
        for number in (1, 5, 40):
            quick = cheapest(planner_of(offers, *VARIANTS[name]), where, budget, number)
            assert shown(quick) == shown(whole.top(number))


def test_machines_that_cannot_be_among_them_are_not_judged() -> None:
    offers = [make_gpu_offer("L4", price="0.5")]
    offers += [
        replace(make_gpu_offer(card, price="800"), instance_type=f"m{at}", accelerator_count=float(1 + at % 8))
        for card in ("A100", "H100", "A10G")
        for at in range(200)
    ]
    planner = planner_of(offers, variant_of(make_spec()))
    assert [one.offer.accelerator for one in cheapest(planner, Where(), Budget(), 1)] == ["L4"]
    assert len(planner._judgements) < 10


def test_nothing_to_choose_is_an_empty_list() -> None:
    offers = random_offers(3, 60)
    assert cheapest(planner_of(offers, variant_of(make_spec())), Where(clouds=("nowhere",)), Budget(), 5) == []


def test_own_runs_that_were_faster_lower_the_bound() -> None:
    offers = random_offers(5, 150)
    slow = planner_of(offers, variant_of(make_spec(), samples=40_000))
    fast = Calibration(device="*/A100", time_factor=0.05, memory_factor=None, runs=3, basis="test")
    for planner in (slow, slow):
        planner._calibration = (fast,)
        planner._calibrations.clear()
        planner._verdicts.clear()
        whole = planner.rank(Where(spot=True), Budget()).top(10)
        planner._verdicts.clear()
        assert shown(cheapest(planner, Where(spot=True), Budget(), 10)) == shown(whole)
