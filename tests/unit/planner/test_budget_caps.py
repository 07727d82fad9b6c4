"""What a budget of the user leaves is a cap like the run file's own, and named where it binds."""

from __future__ import annotations

from decimal import Decimal

from manager.errors import OverBudgetError
from manager.planner.build import explain_no_choice, plan_of
from manager.planner.codec import plan_from_text, plan_to_text
from manager.planner.plan import BudgetCap, Plan
from manager.planner.what_if import binding_notes, limit_costs
from manager.spec.model import RunSpec
from tests.support.market_factory import planner_of, variant_of
from tests.support.plan_factory import make_gpu_offer, make_spec

OFFERS = (make_gpu_offer("L4", price="0.80"), make_gpu_offer("A100", price="3.67"))
PLANNER = planner_of(OFFERS, variant_of(make_spec()))


def left(usd: str) -> BudgetCap:
    name = "month budget 2026-11"
    return BudgetCap(usd=Decimal(usd), name=name, text=f"{name} leaves ${usd} of $50.00")


def planned(spec: RunSpec, cap: BudgetCap | None) -> Plan:
    return plan_of(PLANNER, spec, created_at_s=1.0, notes=(), budget_left=cap)


def test_a_job_without_a_cap_gets_what_is_left() -> None:
    plan = planned(make_spec(), left("12.30"))
    assert plan.limits.max_usd == Decimal("12.30")
    assert plan.spec.budget.max_usd is None
    assert "month budget 2026-11 leaves $12.30 of $50.00: the cap of this run is $12.30" in plan.notes
    assert plan_from_text(plan_to_text(plan)) == plan


def test_a_lower_cap_of_the_run_file_stays() -> None:
    spec = make_spec(max_usd="2")
    plan = planned(spec, left("12.30"))
    assert (plan.budget_cap, plan.limits) == (None, spec.budget)
    assert plan == planned(spec, None)


def test_what_is_left_holds_no_offer() -> None:
    plan = planned(make_spec(), left("0"))
    assert plan.choice is None
    assert {estimate.reason is None for estimate in plan.rejected} == {False}
    error = explain_no_choice(plan)
    assert isinstance(error, OverBudgetError)
    assert "more than the cap of $0.00: month budget 2026-11 leaves $0 of $50.00" in error.message
    assert "tunefare budget set" in str(error.hint)


def test_the_budget_is_named_among_the_limits() -> None:
    spec = make_spec(max_usd="20")
    notes = binding_notes(PLANNER, spec.where, spec.budget, left("0"))
    assert notes[0].startswith("without the month budget 2026-11 the cheapest is ")
    first, *_ = limit_costs(PLANNER, spec.where, spec.budget, left("0"))
    assert first.change == "without the month budget 2026-11"
    assert first.best is not None
