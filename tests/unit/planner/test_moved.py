"""A plan against the prices of another day."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.moved import Move, age_text, at_price, movements, with_prices
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.spec.model import Where
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan


def plan(*offers: Offer) -> Plan:
    spec = make_spec(where=Where(spot=True))
    return make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=offers,
        created_at_s=1_790_000_000.0,
        notes=[],
    )


L4 = make_gpu_offer(price="0.80")


@pytest.mark.parametrize(
    ("today", "move", "text"),
    [
        ([make_gpu_offer(price="0.80")], Move.STAYED, "costs what it did: $0.80/h"),
        ([make_gpu_offer(price="0.90")], Move.DEARER, "is 12.5 % dearer: $0.80/h then, $0.90/h now"),
        ([make_gpu_offer(price="0.60")], Move.CHEAPER, "is 25.0 % cheaper: $0.80/h then, $0.60/h now"),
        ([make_gpu_offer(price=None)], Move.PRICE_UNKNOWN, "has no known price any more, it was $0.80/h"),
        ([make_gpu_offer("A100"), make_gpu_offer(spot=True)], Move.GONE, "is gone: no price source has it any more"),
        ([], Move.GONE, "is gone: no price source has it any more"),
    ],
)
def test_what_became_of_the_choice(today: list[Offer], move: Move, text: str) -> None:
    (moved,) = movements(plan(L4).offers, today)
    assert moved.move is move
    assert moved.is_choice
    assert moved.text() == f"{L4.key} {text}"


def test_a_price_that_was_nothing_has_no_percentage() -> None:
    (moved,) = movements(plan(make_gpu_offer(price="0")).offers, [L4])
    assert moved.percent is None
    assert moved.text() == f"{L4.key} is dearer: $0.00/h then, $0.80/h now"


def test_zones_with_prices_of_their_own_are_told_apart() -> None:
    """A key names a region; the price of the plan's own zones counts where they still have one."""
    a, b = replace(L4, zones=("a",)), replace(L4, zones=("b",), price_usd_per_hour=Decimal("0.70"))
    (same,) = movements(plan(a).offers, [b, a])
    assert same.move is Move.STAYED
    (other,) = movements(plan(a).offers, [b])
    assert (other.move, other.new_usd_per_hour) == (Move.CHEAPER, Decimal("0.70"))


def test_several_nodes_cost_several_times_as_much() -> None:
    estimate = plan(L4).offers[0]
    two = replace(estimate, offer=replace(L4, num_nodes=2, price_usd_per_hour=Decimal("1.60")))
    (moved,) = movements([two], [make_gpu_offer(price="0.90")])
    assert (moved.key[-3:], moved.new_usd_per_hour) == ("/2n", Decimal("1.80"))
    assert moved.now is not None
    assert moved.now.key == two.offer.key


def test_the_old_price_gives_the_old_bill() -> None:
    estimate = plan(make_gpu_offer(price="0.804837", spot=False)).offers[0]
    assert at_price(estimate, estimate.offer) == estimate


def test_a_bill_at_another_price_is_that_of_a_plan_made_then() -> None:
    """The same to the millionth, so that a launch is held to what planning anew would say."""
    dearer = make_gpu_offer(price="1.234567")
    moved = at_price(plan(L4).offers[0], dearer)
    anew = plan(dearer).offers[0]
    assert moved.lines == anew.lines
    assert moved.cost_usd == anew.cost_usd


@pytest.mark.parametrize(("price", "name"), [("0.005", "address"), ("0", "waiting")])
def test_a_machine_that_costs_what_an_address_or_waiting_does_is_told_apart_from_them(price: str, name: str) -> None:
    """Both are lines of hours; neither gets the machine's new price."""
    estimate = plan(make_gpu_offer(price=price, spot=True)).offers[0]
    same = [line for line in estimate.lines if line.name == name]
    assert [(line.unit, line.unit_price_usd) for line in same] == [("h", Decimal(price))]
    moved = at_price(estimate, make_gpu_offer(price="2", spot=True))
    assert [line for line in moved.lines if line.name == name] == same
    assert moved.lines == plan(make_gpu_offer(price="2", spot=True)).offers[0].lines


def test_what_is_not_paid_by_the_hour_keeps_its_price() -> None:
    estimate = plan(L4).offers[0]
    disk = replace(estimate.lines[0], name="disk", unit="GiB")
    moved = at_price(replace(estimate, lines=(disk, *estimate.lines[1:])), make_gpu_offer(price="1.60"))
    assert moved.lines[0] == disk
    assert moved.lines[1].unit_price_usd == Decimal("1.60")
    assert moved.cost_usd is not None
    assert moved.cost_usd.expected == sum(line.total_usd.expected for line in moved.lines)


def test_without_a_price_there_is_no_bill() -> None:
    with pytest.raises(ValueError, match="no known price"):
        at_price(plan(L4).offers[0], make_gpu_offer(price=None))


def test_the_plan_of_today_keeps_its_order_and_leaves_out_what_is_gone() -> None:
    a100, h100 = make_gpu_offer("A100", price="4"), make_gpu_offer("H100", price="9")
    made = plan(L4, a100, h100)
    moved = movements(made.offers, [make_gpu_offer(price="99"), h100])
    today = with_prices(made, moved)
    assert [estimate.offer.key for estimate in today.offers] == [L4.key, h100.key]
    assert today.choice is not None
    assert today.choice.offer.price_usd_per_hour == 99
    assert today.plan_id == made.plan_id


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "less than an hour"), (60, "less than an hour"), (7200, "2 h"), (86400 * 3, "3 days"), (86400 * 1.5, "36 h")],
)
def test_age(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
