"""What would $N buy: the longest training of the job, and the largest model that can be tuned, for an amount of money.

Each answer is a plan whose cost is within the money, not an extrapolation: the split of a bill only says where to look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from manager.errors import DataError, OverBudgetError, UsageError
from manager.planner.buys import MOST_EPOCHS, Amount, Bought, amount_of, what_offers_buy
from manager.planner.limits import REASON_BUDGET, REASON_DEADLINE, kind_of
from manager.planner.plan import Estimate, Plan
from manager.service.alternatives import models_of_task, on_model
from manager.service.context import Context
from manager.service.planning import explain_no_choice, planner_of, save_plan
from manager.spec.model import Budget, RunSpec
from manager.units import format_hours, format_usd

_MOST_PLANS = 6
"""For the longest training; each is nearer to the money than the one before."""
_CLOSE_ENOUGH = Decimal("0.99")

Planner = Callable[[RunSpec], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestModel:
    """The largest model that was found to be within the money, for as many epochs as the run file asks."""

    plan: Plan | None
    """None: not one of those that were planned is within it."""
    planned: int
    """Models that were planned."""
    known: int
    """Models of the shipped table for the task."""
    is_end: bool
    """No larger model of the table can be planned from what ships: more money would buy none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """The answer to `tunefare plan --buys N`."""

    spec: RunSpec
    usd: Decimal
    amount: Amount
    """Of the longest training within the money."""
    plan: Plan
    """For that training; its choice is the offer to take."""
    bought: tuple[Bought, ...]
    """Offers by the steps that the money buys on them, from the split of that plan."""
    largest: LargestModel
    notes: tuple[str, ...]

    @property
    def choice(self) -> Estimate:
        """The offer to take."""
        choice = self.plan.choice
        assert choice is not None
        return choice


def what_buys(
    context: Context,
    spec: RunSpec,
    usd: Decimal,
    *,
    catalogs: Path | None = None,
    planner: Planner | None = None,
    tell: Callable[[str], None] | None = None,
) -> Purchase:
    """The longest training of the job and the largest model for an amount of money; both plans are kept.

    Args:
        context: surroundings.
        spec: the job; its budget gives way to the amount, its deadline holds.
        usd: dollars for the whole run.
        catalogs: folder of price catalogs, as for a plan.
        planner: plans one job; None: `open_job`.
        tell: is told of work that takes long, before it is done.

    Raises:
        UsageError: the amount is not above 0.
        NothingFitsError: no offer can carry the job, whatever it costs.
        OverBudgetError: not even one step can be bought, or not within the deadline.
        DataError: model or data cannot be used.
    """
    if not usd.is_finite() or not 0 < usd <= 10**12:
        raise UsageError(f"--buys {usd} is no amount to spend", hint="give dollars above 0, such as --buys 50")

    plan = planner or planner_of(context, catalogs, tell)
    longest = _longest(spec, usd, plan)
    largest = _largest(spec, usd, plan, tell)
    for made in (longest, largest.plan):
        if made is not None:
            save_plan(context, made)
    amount = amount_of(longest.profile, longest.profile.steps)
    return Purchase(
        spec=spec,
        usd=usd,
        amount=amount,
        plan=longest,
        bought=what_offers_buy(
            (*longest.offers, *_beyond_limits(longest)),
            longest.profile,
            usd,
            deadline_hours=spec.budget.deadline_hours,
        ),
        largest=largest,
        notes=(*longest.notes, *_notes(amount)),
    )


def _longest(spec: RunSpec, usd: Decimal, plan: Planner) -> Plan:
    """The plan with the most optimizer steps whose choice is within the money."""
    free = plan(replace(spec, budget=replace(spec.budget, max_usd=None, deadline_hours=None)))
    if free.choice is None:
        raise explain_no_choice(free)
    best: Plan | None = None
    asked = _most_steps(free, spec.budget, usd)
    for _ in range(_MOST_PLANS):
        if not asked:
            break
        made = plan(_with_steps(spec, asked, usd))
        again = _most_steps(made, spec.budget, usd)
        if made.choice is None:
            again = min(again, int(asked * _CLOSE_ENOUGH)) or asked // 2
        elif best is None or made.profile.steps > best.profile.steps:
            best = made
        if best is not None and again * _CLOSE_ENOUGH <= best.profile.steps:
            break
        asked = again
    if best is None:
        raise _too_little(free, spec.budget, usd)
    return best


def _most_steps(plan: Plan, budget: Budget, usd: Decimal) -> int:
    """Steps that the money buys on the best of a plan's offers, at the end of the interval that the budget compares;
    of offers that are all beyond its limits, on the best of those."""
    offers = plan.offers or _beyond_limits(plan)
    bought = what_offers_buy(offers, plan.profile, usd, deadline_hours=budget.deadline_hours)
    if budget.is_sure:
        return max((one.steps_surely for one in bought), default=0)
    return max((one.steps for one in bought), default=0)


def _beyond_limits(plan: Plan) -> tuple[Estimate, ...]:
    """Offers that carry the job and are too dear or too slow for so many steps."""
    kinds = (REASON_BUDGET, REASON_DEADLINE)
    return tuple(estimate for estimate in plan.rejected if kind_of(estimate.reason or "") in kinds)


def _with_steps(spec: RunSpec, steps: int, usd: Decimal) -> RunSpec:
    return replace(
        spec,
        training=replace(spec.training, max_steps=steps),
        budget=replace(spec.budget, max_usd=usd),
    )


def _too_little(plan: Plan, budget: Budget, usd: Decimal) -> OverBudgetError:
    choice = plan.choice
    cost = None if choice is None or choice.cost_usd is None else choice.cost_usd.expected
    limits = format_usd(usd)
    if budget.deadline_hours is not None:
        limits += f" within the deadline of {format_hours(budget.deadline_hours)}"
    return OverBudgetError(
        f"{limits} buy no training of this job: as asked it costs {format_usd(cost)}, and boot, set-up, evaluation "
        f"and saving are paid for a single step too",
        hint="give more, allow other machines in `where`, spot for one, or a later deadline",
    )


def _largest(spec: RunSpec, usd: Decimal, plan: Planner, tell: Callable[[str], None] | None) -> LargestModel:
    """By bisection over size: dollars rise with it nearly always, and each plan halves what is left."""
    models = models_of_task(spec)
    job = replace(spec, budget=replace(spec.budget, max_usd=usd))
    best, planned, low, high = None, 0, 0, len(models)
    while low < high:
        middle = (low + high) // 2
        found = _plan_nearest(job, models[low : middle + 1], plan, tell)
        if found is None:
            low = middle + 1
            continue
        place, made = found
        planned += 1
        if made.choice is None:
            high = low + place
        else:
            best, low = made, middle + 1
    return LargestModel(plan=best, planned=planned, known=len(models), is_end=best is not None and high == len(models))


def _plan_nearest(
    job: RunSpec, models: Sequence[tuple[int, str]], plan: Planner, tell: Callable[[str], None] | None
) -> tuple[int, Plan] | None:
    """The plan of the last of these models that can be planned from what ships, and its place."""
    for place in range(len(models) - 1, -1, -1):
        parameters, name = models[place]
        other = on_model(job, name)
        if other is None:
            continue
        if tell is not None:
            tell(f"planning {name}, {parameters / 1e6:,.0f} M parameters ...")
        try:
            return place, plan(other)
        except DataError:
            continue  # Not with this data: its neighbour stands for its size.
    return None


def _notes(amount: Amount) -> tuple[str, ...]:
    largest = (
        "the largest model is looked for by bisection over size: one that costs less than smaller ones may be missed"
    )
    if amount.epochs < MOST_EPOCHS * float(_CLOSE_ENOUGH):
        return (largest,)
    return (f"more than {MOST_EPOCHS:,} epochs are not counted", largest)
