"""The launch request of a plan: what the cap leaves for machines, and how long it lasts, on each of its offers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import OverBudgetError
from manager.launch.engine import LaunchRequest
from manager.planner.plan import Estimate, Plan
from manager.prices.offer import Offer
from manager.service.running import prepare
from manager.spec.model import Budget, Where
from manager.units import MoneyInterval
from tests.support.contexts import make_context
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

T4 = make_gpu_offer("T4", price="0.1", cloud="azure", spot=True)
DEARER = make_gpu_offer("T4", price="0.4", cloud="aws", spot=True)


def plan_of(*offers: Offer, confidence: float = 0.5) -> Plan:
    spec = replace(make_spec(where=Where(spot=True)), budget=Budget(confidence=confidence))
    spec = replace(spec, data=replace(spec.data, source="org/data"))
    return make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=offers,
        created_at_s=1.0,
        notes=[],
    )


def prepared(plan: Plan, folder: Path, cap: str | None) -> LaunchRequest:
    request, engine = prepare(make_context(folder), plan, cap_usd=None if cap is None else Decimal(cap))
    assert engine == "sky"
    return request


def high_usd(estimate: Estimate, *names: str) -> Decimal:
    """Of lines of a bill."""
    return sum((line.total_usd.high for line in estimate.lines if line.name in names), Decimal(0))


def machine_hours(estimate: Estimate) -> Decimal:
    """At the high end."""
    beside = ("disk", "address", "egress", "waiting")
    return sum((Decimal(repr(line.quantity.high)) for line in estimate.lines if line.name not in beside), Decimal(0))


def test_a_run_as_long_as_the_high_end_of_its_bill_spends_that_bill(tmp_path: Path) -> None:
    """The guard's price and cap are those with which the whole bill, not the machine alone, meets the cap."""
    plan = plan_of(T4)
    choice = plan.choice
    assert choice is not None
    assert choice.cost_usd is not None
    hourly = high_usd(choice, "disk", "address") / machine_hours(choice)
    once = high_usd(choice, "egress")
    assert hourly > Decimal("0.03"), "a large part of what this machine costs"
    assert once > 0
    # The trainer stops sooner, by what the results and the take-down may need: that is a part of the bill too.
    request = replace(prepared(plan, tmp_path, "5"), wrap_up_s=0.0)
    guard = request.guard_on(request.offers[0])
    assert guard.price_usd_per_hour == pytest.approx(float(T4.price_usd_per_hour or 0) + float(hourly))
    assert guard.max_usd == pytest.approx(5 - float(once))
    total = float(machine_hours(choice)) * (guard.price_usd_per_hour or 0) + float(once)
    assert total == pytest.approx(float(choice.cost_usd.high), abs=1e-5)


def test_the_longest_duration_is_what_the_cap_buys_with_disk_address_and_traffic(tmp_path: Path) -> None:
    request = replace(prepared(plan_of(T4, DEARER), tmp_path, "1"), wrap_up_s=0.0)
    assert [offer.cloud for offer in request.offers] == ["azure", "aws"]
    hours = []
    for offer in request.offers:
        guard = request.guard_on(offer)
        assert guard.max_usd is not None
        assert guard.price_usd_per_hour is not None
        hours.append(guard.max_usd / guard.price_usd_per_hour)
    assert hours[0] > hours[1]
    assert request.max_duration_s == pytest.approx(hours[0] * 3600)
    assert hours[0] < 1 / 0.1


def test_without_a_cap_the_setting_bounds_the_duration(tmp_path: Path) -> None:
    plan = plan_of(T4)
    assert prepared(plan, tmp_path, None).guard_on(T4).max_usd is None
    longest_s = prepared(plan, tmp_path, None).max_duration_s
    assert longest_s == prepared(plan, tmp_path, "1000000").max_duration_s


def test_each_offer_has_its_own_disk(tmp_path: Path) -> None:
    pod = make_gpu_offer("T4", price="0.2", cloud="kubernetes", spot=True)
    request = prepared(plan_of(T4, pod), tmp_path, None)
    assert request.disks_gib[T4.key] == 192  # Azure's images take up to 150 GiB, packages 16.
    assert 0 < request.disks_gib[pod.key] < 128


@pytest.mark.parametrize(("confidence", "told"), [(0.5, "expected"), (0.9, "at 90%")])
def test_the_cap_is_compared_with_the_end_that_the_budget_names(tmp_path: Path, confidence: float, told: str) -> None:
    plan = plan_of(T4, confidence=confidence)
    choice = plan.choice
    assert choice is not None
    cost = MoneyInterval(low=Decimal(1), expected=Decimal(2), high=Decimal(4))
    plan = replace(plan, offers=(replace(choice, cost_usd=cost),))
    end = cost.expected if confidence == 0.5 else cost.high
    prepared(plan, tmp_path, str(end))
    with pytest.raises(OverBudgetError, match=rf"the plan costs \${end}\.00 \({told}\), over the cap of \${end}\.00"):
        prepared(plan, tmp_path, str(end - Decimal("0.001")))


def test_a_cap_that_the_traffic_home_may_take_alone_is_refused(tmp_path: Path) -> None:
    plan = plan_of(T4, DEARER)
    choice, other = plan.offers
    lines = tuple(
        replace(line, total_usd=replace(line.total_usd, high=Decimal(7))) if line.name == "egress" else line
        for line in choice.lines
    )
    costly = replace(choice, lines=lines)
    with pytest.raises(OverBudgetError, match=r"traffic home may cost \$7\.00, which leaves nothing of the cap of \$5"):
        prepared(replace(plan, offers=(costly, other)), tmp_path, "5")
    # As a fall-back it is left out.
    kept = prepared(replace(plan, offers=(other, replace(costly, cost_usd=other.cost_usd))), tmp_path, "5")
    assert [offer.cloud for offer in kept.offers] == ["aws"]
