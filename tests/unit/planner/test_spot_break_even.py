"""Spot against on demand: where the two bills are equal, asked of whole plans; nothing is made up without a price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.assumptions import Assumptions, shipped_assumptions
from manager.planner.plan import Estimate
from manager.planner.spot_break_even import SpotBreakEven, spot_break_even
from manager.prices.offer import Offer
from manager.spec.model import Budget, Where
from manager.units import Interval
from tests.support.market_factory import planner_of, variant_of
from tests.support.plan_factory import make_gpu_offer, make_spec

ANY = Where(spot=True, max_nodes=4)
VARIANT = variant_of(make_spec(epochs=20.0))
ON_DEMAND = make_gpu_offer("L4", price="0.80")
SPOT = make_gpu_offer("L4", price="0.50", spot=True)


def in_region(offer: Offer, region: str, price: str | None) -> Offer:
    return replace(offer, region=region, price_usd_per_hour=None if price is None else Decimal(price))


def with_rate(per_hour: float) -> Assumptions:
    """The shipped table, with one certain rate of preemptions."""
    rows = {
        key: replace(row, value=Interval(low=per_hour, expected=per_hour, high=per_hour))
        if row.name == "preemption_rate"
        else row
        for key, row in shipped_assumptions().rows.items()
    }
    return Assumptions(rows)


def compared(
    spot: Offer, *others: Offer, where: Where = ANY, nodes: int = 1, rate: float | None = None
) -> tuple[SpotBreakEven, Estimate]:
    """The answer for a spot offer in a market of these, and its estimate."""
    planner = planner_of([spot, *others], VARIANT, assumptions=None if rate is None else with_rate(rate))
    key = spot.key if nodes == 1 else f"{spot.key}/{nodes}n"
    estimate = planner.find(key, where, Budget())
    assert estimate is not None
    answer = spot_break_even(planner, estimate, where)
    assert answer is not None
    return answer, estimate


def expected_usd(estimate: Estimate) -> float:
    assert estimate.cost_usd is not None
    return float(estimate.cost_usd.expected)


@pytest.mark.parametrize("nodes", [1, 2])
def test_at_the_even_rate_both_bills_are_equal(nodes: int) -> None:
    answer, before = compared(SPOT, ON_DEMAND, nodes=nodes)
    rate = answer.even_preemptions_per_hour
    assert rate is not None
    assert rate > answer.preemptions_per_hour.expected
    there, spot = compared(SPOT, ON_DEMAND, nodes=nodes, rate=rate)
    on_demand = there.on_demand
    assert on_demand is not None
    assert on_demand.cost_usd is not None
    assert expected_usd(before) < float(on_demand.cost_usd.expected) * 0.8
    assert expected_usd(spot) == pytest.approx(float(on_demand.cost_usd.expected), rel=1e-4)


def test_at_the_even_price_both_bills_are_equal() -> None:
    answer, _ = compared(SPOT, ON_DEMAND, rate=1.0)
    price = answer.even_price_usd_per_hour
    assert price is not None
    assert answer.even_price_share == pytest.approx(float(price) / 0.80, rel=1e-5)
    assert price < Decimal("0.76")
    again, spot = compared(replace(SPOT, price_usd_per_hour=price), ON_DEMAND, rate=1.0)
    assert again.on_demand is not None
    assert again.on_demand.cost_usd is not None
    assert expected_usd(spot) == pytest.approx(float(again.on_demand.cost_usd.expected), rel=1e-4)
    assert again.even_preemptions_per_hour == pytest.approx(1.0, rel=1e-3)


def test_the_assumed_rate_comes_with_its_interval() -> None:
    row = shipped_assumptions().of("preemption_rate", "aws").value
    answer, _ = compared(SPOT, ON_DEMAND)
    assert answer.preemptions_per_hour == row
    assert answer.price_share == pytest.approx(0.625)
    assert answer.is_dearer_without_preemptions is False


@pytest.mark.parametrize("price", ["0.80", "0.96"])
def test_spot_that_is_not_cheaper_has_no_even_rate(price: str) -> None:
    answer, _ = compared(replace(SPOT, price_usd_per_hour=Decimal(price)), ON_DEMAND)
    assert answer.even_preemptions_per_hour is None
    assert answer.is_dearer_without_preemptions is True
    assert answer.even_price_usd_per_hour is not None
    assert answer.even_price_usd_per_hour < Decimal("0.80")


def test_the_same_region_comes_before_cheaper_ones() -> None:
    answer, _ = compared(SPOT, ON_DEMAND, in_region(ON_DEMAND, "eu-west-1", "0.60"))
    assert answer.on_demand is not None
    assert (answer.on_demand.region, answer.on_demand.is_same_region) == ("us-east-1", True)
    assert answer.on_demand.key == ON_DEMAND.key


def test_without_an_on_demand_price_here_the_cheapest_allowed_region_counts() -> None:
    market = (
        in_region(ON_DEMAND, "us-east-1", None),
        in_region(ON_DEMAND, "eu-west-1", "0.90"),
        in_region(ON_DEMAND, "eu-west-2", "0.70"),
    )
    anywhere, _ = compared(SPOT, *market)
    assert anywhere.on_demand is not None
    assert (anywhere.on_demand.region, anywhere.on_demand.is_same_region) == ("eu-west-2", False)
    limited, _ = compared(SPOT, *market, where=replace(ANY, regions=("us-east-1", "EU-west-1")))
    assert limited.on_demand is not None
    assert limited.on_demand.region == "eu-west-1"


@pytest.mark.parametrize(
    "others",
    [
        (),
        (in_region(ON_DEMAND, "us-east-1", None),),
        (make_gpu_offer("L4", count=2.0, price="0.80"), make_gpu_offer("A100", price="0.80")),
        (make_gpu_offer("L4", cloud="gcp", price="0.80"),),
    ],
)
def test_nothing_is_made_up_without_the_same_machine_on_demand(others: tuple[Offer, ...]) -> None:
    answer, _ = compared(SPOT, *others)
    assert answer == SpotBreakEven(preemptions_per_hour=answer.preemptions_per_hour)
    assert answer.preemptions_per_hour.expected > 0


def test_an_unknown_spot_price_leaves_the_price_to_pay_at_most() -> None:
    answer, _ = compared(replace(SPOT, price_usd_per_hour=None), ON_DEMAND)
    assert answer.even_price_usd_per_hour is not None
    assert Decimal("0.5") < answer.even_price_usd_per_hour < Decimal("0.8")
    assert (answer.even_preemptions_per_hour, answer.price_share) == (None, None)
    assert answer.is_dearer_without_preemptions is None


def test_it_is_asked_of_spot_offers_on_which_the_job_runs() -> None:
    planner = planner_of([SPOT, ON_DEMAND, make_gpu_offer("no-such-card", price="0.1", spot=True)], VARIANT)
    for key in (ON_DEMAND.key, make_gpu_offer("no-such-card", spot=True).key):
        estimate = planner.find(key, ANY, Budget())
        assert estimate is not None
        assert spot_break_even(planner, estimate, ANY) is None
