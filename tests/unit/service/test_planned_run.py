"""A saved plan on another day: what is told, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import NothingFitsError, OverBudgetError, TunefareError, UsageError
from manager.planner.plan import BudgetCap, Plan
from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.service import planned_run
from manager.service.budgets import set_budget
from manager.service.planned_run import Revisited, capped, revisit
from manager.spec.model import Budget
from manager.workload.profile import DataStats
from tests.support.contexts import make_context
from tests.support.diff_stage import CREATED_AT_S, fixed_plan
from tests.support.plan_factory import make_data, make_gpu_offer

Revisit = Callable[..., Revisited]
KEY = "aws/us-east-1/1xL4/L4:1/on-demand"


def plan_of(*, max_usd: str | None = "8", confidence: float = 0.5) -> Plan:
    """$2/h for two hours on an L4, then on an A100."""
    made = fixed_plan(dollars="4", hours=2)
    second = fixed_plan(dollars="6", hours=2, machine="A100").offers[0]
    budget = Budget(max_usd=None if max_usd is None else Decimal(max_usd), confidence=confidence)
    return replace(made, spec=replace(made.spec, budget=budget), offers=(*made.offers, second))


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Revisit:
    """Revisit a plan two days later, with prices and data of that day."""

    def call(
        plan: Plan, l4: str | None = "2", a100: str | None = "3", *, data: DataStats | None = None, gone: bool = False
    ) -> Revisited:
        offers: list[Offer] = [] if gone else [make_gpu_offer(price=l4)]
        offers.append(make_gpu_offer("A100", price=a100))
        monkeypatch.setattr(planned_run, "read_market", lambda *_: Market.of_offers(offers))
        monkeypatch.setattr(planned_run, "measure_data", lambda *_, **__: data or plan.profile.data)
        context = make_context(tmp_path, clock=lambda: CREATED_AT_S + 2 * 86_400)
        return revisit(context, plan, catalogs=None)

    return call


def test_the_same_prices(again: Revisit) -> None:
    plan = plan_of()
    found = again(plan)
    assert [(e.offer.key, e.cost_usd) for e in found.plan.offers] == [(e.offer.key, e.cost_usd) for e in plan.offers]
    assert found.plan.spec == plan.spec
    assert found.plan.plan_id == plan.plan_id
    assert found.told == (
        "planned 2 days ago; prices read again, 24 h old (test prices)",
        "the data is as large as it was; its contents were not read, so more cannot be said",
        f"chosen offer {KEY} costs what it did: $2.00/h",
    )


def test_moved_prices_are_told_and_paid(again: Revisit) -> None:
    found = again(plan_of(), "3", "2.25")
    assert f"chosen offer {KEY} is 50.0 % dearer: $2.00/h then, $3.00/h now" in found.told
    assert "fall-back aws/us-east-1/1xA100/A100:1/on-demand is 25.0 % cheaper: $3.00/h then, $2.25/h now" in found.told
    choice = found.plan.choice
    assert choice is not None
    assert choice.offer.key == KEY, "the plan's own choice stays, although a fall-back is cheaper by now"
    assert choice.cost_usd is not None
    assert choice.cost_usd.expected == 6
    assert set(found.told) <= set(found.plan.notes)


def test_over_the_cap_by_now(again: Revisit) -> None:
    assert again(plan_of(), "4").plan.choice is not None
    with pytest.raises(
        OverBudgetError,
        match=r"costs \$8\.20 \(expected\) by now, \$4\.00 \(expected\) when it was made: over the cap of \$8\.00",
    ):
        again(plan_of(), "4.1")
    assert again(plan_of(max_usd=None), "4.1").plan.choice is not None


def test_the_high_end_is_compared_where_the_plan_asked_for_it(again: Revisit) -> None:
    assert again(plan_of(confidence=0.9), "2").plan.choice is not None
    with pytest.raises(OverBudgetError, match=r"costs \$8\.40 \(at 90%\) by now"):
        again(plan_of(confidence=0.9), "2.1")


def test_fall_backs_over_the_cap_or_gone_are_left_out(again: Revisit) -> None:
    assert len(again(plan_of(), "2", "4").plan.offers) == 2
    assert len(again(plan_of(), "2", "5").plan.offers) == 1
    assert len(again(plan_of(), "2", None).plan.offers) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"gone": True}, "is gone: no price source has it any more"), ({"l4": None}, "has no known price any more")],
)
def test_a_choice_that_is_gone_is_not_replaced_silently(
    again: Revisit, arguments: dict[str, bool | None], message: str
) -> None:
    with pytest.raises(NothingFitsError, match=message) as caught:
        again(plan_of(), **arguments)
    assert "--replan" in (caught.value.hint or "")


def test_changed_data_is_refused(again: Revisit) -> None:
    plan = plan_of()
    known = replace(make_data(), sha256="a" * 64)
    read = replace(plan, profile=replace(plan.profile, data=known))
    assert len(again(read, data=known).told) == 2
    with pytest.raises(UsageError, match="has changed since") as caught:
        again(read, data=replace(known, sha256="b" * 64))
    assert "--replan" in (caught.value.hint or "")


def test_data_whose_contents_were_not_read_is_compared_by_size(again: Revisit) -> None:
    with pytest.raises(UsageError, match="5,000,001 bytes and 1,780 samples"):
        again(plan_of(), data=replace(make_data(), bytes=5_000_001))


def test_another_estimator_is_refused(again: Revisit) -> None:
    plan = plan_of()
    old = replace(plan, offers=tuple(replace(estimate, estimator="formulas") for estimate in plan.offers))
    with pytest.raises(UsageError, match="was estimated by `formulas`"):
        again(old)


def test_nothing_to_launch(again: Revisit) -> None:
    none = fixed_plan(dollars="4", hours=1, max_usd="1")
    with pytest.raises(OverBudgetError, match="more than the cap"):
        again(none)


def test_the_cap_can_be_lowered_and_not_raised() -> None:
    assert capped(plan_of(), None).spec.budget.max_usd == 8
    assert capped(plan_of(), Decimal(5)).spec.budget.max_usd == 5
    assert capped(plan_of(max_usd=None), Decimal(500)).spec.budget.max_usd == 500
    for wrong in (Decimal("8.01"), Decimal(0), Decimal("NaN")):
        with pytest.raises(TunefareError):
            capped(plan_of(), wrong)


def test_what_a_budget_leaves_today_is_the_cap(again: Revisit, tmp_path: Path) -> None:
    stale = BudgetCap(usd=Decimal(1), name="month budget 2026-08", text="month budget 2026-08 leaves $1.00 of $9.00")
    notes = (stale.note, f"a word on {stale.text}")
    plan = replace(plan_of(max_usd=None), budget_cap=stale, notes=notes)
    context = make_context(tmp_path)
    assert again(plan).plan.budget_cap is None
    set_budget(context, "month", None, Decimal(5))
    found = again(plan)
    assert found.plan.limits.max_usd == Decimal(5)
    assert found.plan.notes[0] == f"a word on {stale.text}"
    assert "leaves $5.00 of $5.00: the cap of this run is $5.00" in found.told[-1]
    # The fall-back at $6 is not launched without another question.
    assert len(found.plan.offers) == 1
    set_budget(context, "month", None, Decimal(3))
    with pytest.raises(
        OverBudgetError, match=r"costs \$4.00 \(expected\), and month budget .* leaves \$3.00 of \$3.00"
    ):
        again(plan)
