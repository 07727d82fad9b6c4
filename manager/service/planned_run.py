"""A saved plan, to be launched later: what has moved since, whether it still holds, and the plan at today's prices.

The question, the chosen offer and the hours stay those of the plan; only prices are read again. What no longer holds is
refused with the way out, which is to plan anew.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from manager.errors import NothingFitsError, OverBudgetError, UsageError
from manager.planner.build import explain_no_choice
from manager.planner.limits import binding_cap, cost_at, cost_told
from manager.planner.moved import Move, Movement, age_text, movements, with_prices
from manager.planner.plan import ESTIMATOR, Estimate, Plan
from manager.profiling.measure import measure_data
from manager.service.budgets import cap_of_budgets
from manager.service.context import Context
from manager.service.market import read_market
from manager.service.planning import narrowed
from manager.service.running import with_fallbacks
from manager.spec.model import Budget
from manager.units import format_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisited:
    """A plan of another day, ready to be launched."""

    plan: Plan
    """With the offers that are still there, at their prices of today."""
    told: tuple[str, ...]
    """What the user should know before saying yes."""


def capped(plan: Plan, max_usd: Decimal | None) -> Plan:
    """The plan with a cap from the command line, which may be lower than the plan's own and not higher.

    Raises:
        UsageError: it is higher, or no amount.
    """
    own, spec = plan.spec.budget.max_usd, narrowed(plan.spec, on=None, max_usd=max_usd)
    if max_usd is not None and own is not None and max_usd > own:
        raise UsageError(
            f"plan {plan.plan_id} was made for a cap of {format_usd(own)}, --max-usd {max_usd} is more",
            hint="raise budget.max_usd in the run file and plan anew",
        )
    return dataclasses.replace(plan, spec=spec)


def revisit(context: Context, plan: Plan, *, catalogs: Path | None) -> Revisited:
    """Check that a saved plan still holds, and price it anew.

    Args:
        context: surroundings.
        plan: the saved one; its cap is compared with what it costs today, at the end that its budget compares.
        catalogs: folder of price catalogs, or None.

    Raises:
        NothingFitsError: its chosen offer is gone, or has no known price any more.
        OverBudgetError: it chose nothing because of a limit, or costs more than its cap by now.
        UsageError: it was estimated in another way, or its data has changed.
        DataError: its data cannot be read any more.
    """
    choice = plan.choice
    if choice is None:
        raise explain_no_choice(plan)
    context.home.ensure()
    _check_estimator(plan, choice)
    told = _data(context, plan)
    moved = movements(with_fallbacks(plan, choice), read_market(context, catalogs).offers())
    _check_choice(plan, moved[0])
    told.insert(0, f"planned {age_text(context.clock() - plan.created_at_s)} ago; {_prices(moved[0])}")
    # What budgets left on the day of the plan says nothing of today.
    stale = None if plan.budget_cap is None else plan.budget_cap.note
    left = binding_cap(plan.spec.budget, cap_of_budgets(context, plan.spec.project))
    today = dataclasses.replace(with_prices(plan, moved), budget_cap=left)
    told += _told(moved)
    if left is not None:
        told.append(left.note)
    _check_cap(plan, today)
    # A fall-back is launched without another question, so that it has to keep the cap as the choice does.
    kept = tuple(estimate for estimate in today.offers if _keeps_cap(today.limits, estimate))
    notes = (*(note for note in plan.notes if note != stale), *told)
    kept_plan = dataclasses.replace(today, offers=kept, offers_total=len(kept), notes=notes)
    return Revisited(plan=kept_plan, told=tuple(told))


def _prices(choice: Movement) -> str:
    """Which prices were read again."""
    if choice.now is None or choice.now.price_age_s is None:
        return "prices read again, of an unknown day"
    return f"prices read again, {age_text(choice.now.price_age_s)} old ({choice.now.price_source})"


def _told(moved: tuple[Movement, ...]) -> list[str]:
    choice, *others = moved
    told = [f"chosen offer {choice.text()}"]
    return told + [f"fall-back {other.text()}" for other in others if other.move is not Move.STAYED]


def _check_estimator(plan: Plan, choice: Estimate) -> None:
    if choice.estimator != ESTIMATOR:
        raise UsageError(
            f"plan {plan.plan_id} was estimated by `{choice.estimator}`; this tunefare estimates by `{ESTIMATOR}`, so "
            "that its hours, memory and dollars no longer hold",
            hint=_anew(plan),
        )


def _data(context: Context, plan: Plan) -> list[str]:
    """Refuse data that is not what was planned for; where contents were not read, its size is compared, and told."""
    then = plan.profile.data
    now = measure_data(
        plan.spec, cache_dir=context.home.cache_dir, timeout_s=float(context.config.number("measure_timeout_s"))
    )
    is_read = then.sha256 is not None and now.sha256 is not None
    if (now.sha256 != then.sha256) if is_read else (now.bytes != then.bytes):
        raise UsageError(
            f"the data of plan {plan.plan_id}, {plan.spec.data.source}, has changed since: {now.bytes:,} bytes and "
            f"{now.train_samples:,} samples to train on, planned were {then.bytes:,} and {then.train_samples:,}",
            hint=_anew(plan),
        )
    return [] if is_read else ["the data is as large as it was; its contents were not read, so more cannot be said"]


def _check_choice(plan: Plan, moved: Movement) -> None:
    if moved.move in (Move.GONE, Move.PRICE_UNKNOWN):
        raise NothingFitsError(f"the chosen offer of plan {plan.plan_id}, {moved.text()}", hint=_anew(plan))


def _check_cap(plan: Plan, today: Plan) -> None:
    before, now, budget = plan.choice, today.choice, today.limits
    if before is None or now is None or _keeps_cap(budget, now):
        return
    if today.budget_cap is not None:
        raise OverBudgetError(
            f"plan {plan.plan_id} costs {_cost(budget, now)}, and {today.budget_cap.text}",
            hint="wait for runs to end, plan less, or raise the budget with `tunefare budget set`",
        )
    raise OverBudgetError(
        f"plan {plan.plan_id} costs {_cost(budget, now)} by now, {_cost(budget, before)} when it was made: over the "
        f"cap of {format_usd(budget.max_usd)}",
        hint=f"{_anew(plan)}, or raise the cap",
    )


def _keeps_cap(budget: Budget, estimate: Estimate) -> bool:
    cost = estimate.cost_usd
    return budget.max_usd is None or (cost is not None and cost_at(budget, cost) <= budget.max_usd)


def _cost(budget: Budget, estimate: Estimate) -> str:
    return format_usd(None) if estimate.cost_usd is None else cost_told(budget, estimate.cost_usd)


def _anew(plan: Plan) -> str:
    return f"plan anew and launch that: `tunefare run --plan {plan.plan_id} --replan`"
