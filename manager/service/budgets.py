"""Budgets of months, users and projects: set, shown, and kept by plans and launches.

A budget never stops a run that goes on: each run has a cap of its own, and the rest of these caps counts as committed.
What is left then bounds the next one. Months are calendar months of this machine's local time, in a shared ledger of
UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from manager.errors import OverBudgetError, UsageError
from manager.planner.limits import cost_at, cost_told
from manager.planner.plan import BudgetCap, Plan
from manager.runs.budget_rows import limits, projects, spent_in_each, standings, tightest_for
from manager.runs.budgets import (
    BudgetLimit,
    BudgetScope,
    Month,
    OpenRun,
    Spent,
    month_before,
    month_of,
)
from manager.runs.budgets import Standing as BudgetState
from manager.runs.database import Database, now_of, zone_of
from manager.service.context import Context
from manager.service.inspection import open_ledger, reading
from manager.spec.model import is_plain_name

__all__ = ["BudgetLimit", "BudgetScope", "BudgetState", "MonthSpent", "OpenRun", "Spent"]

HISTORY_MONTHS = 12
_MOST_USD = Decimal(10) ** 12
_USER = re.compile(r"\S{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthSpent:
    """What all runs were charged in a month."""

    month: Month
    spent: Spent
    limit_usd: Decimal | None
    """The month's budget at its end, or now; None: there was none."""


def set_budget(context: Context, scope: str, name: str | None, usd: Decimal | None) -> None:
    """Bound a month, a user or a project from now on; None takes the budget away.

    Args:
        context: surroundings.
        scope: `month`, `user` or `project`.
        name: of the user or the project; None for the month.
        usd: dollars of each month, of each month of the user's runs, or of all runs of the project together.

    Raises:
        UsageError: no such scope, no name, no amount, or nothing to take away.
        StateError: the ledger cannot be written.
    """
    kind, key = budget_scope(scope), name or ""
    if kind is BudgetScope.MONTH and key:
        raise UsageError("a month's budget has no name", hint="it holds for each calendar month: budget set month 200")
    if kind is BudgetScope.PROJECT and not is_plain_name(key):
        raise UsageError(f"{key!r} is no project", hint="use 1 to 40 of a-z, 0-9 and -, as `project` in the run file")
    if kind is BudgetScope.USER and not _USER.fullmatch(key):
        raise UsageError(f"{key!r} is no user", hint="a name without spaces, as `tunefare config show` has it")
    if usd is not None and not (usd.is_finite() and 0 < usd <= _MOST_USD):
        raise UsageError(f"{usd} dollars are no budget", hint="give dollars above 0, such as 200")
    with open_ledger(context) as ledger:
        present = {(limit.scope, limit.name) for limit in ledger.look(limits)}
        if usd is None and (kind, key) not in present:
            raise UsageError(f"there is no {_title(kind, key)}", hint="`tunefare budget show` lists the budgets")
        ledger.set_budget(kind, key, usd, context.clock())


def parse_budget(text: str) -> tuple[str, str | None, Decimal]:
    """Scope, name and dollars of `month 200` (or `200`), of `research 50` and of `user ann 50`.

    Raises:
        UsageError: it is none of these.
    """
    *names, amount = text.split() or [""]
    try:
        usd = Decimal(amount.removeprefix("$").replace(",", ""))
    except InvalidOperation as error:
        raise UsageError(
            f"{amount!r} is not an amount in dollars" if amount else "how many dollars?",
            hint="write `month 200`, or a project's name and dollars: `research 50`",
        ) from error
    if len(names) == 2 and names[0] == BudgetScope.USER:
        return str(BudgetScope.USER), names[1], usd
    if len(names) > 1:
        raise UsageError(f"{' '.join(names)!r} is no project", hint="one name without spaces, then dollars")
    if not names or names[0] == BudgetScope.MONTH:
        return str(BudgetScope.MONTH), None, usd
    return str(BudgetScope.PROJECT), names[0], usd


def parse_new_amount(text: str, limit: BudgetLimit) -> Decimal:
    """Dollars of `12`, or of `research 12` where that is the budget to be changed.

    Raises:
        UsageError: it is no amount, or names another budget.
    """
    scope, name, usd = parse_budget(text)
    if len(text.split()) > 1 and (scope, name or "") != (limit.scope, limit.name):
        meant, other = limit.name or limit.scope, name or scope
        raise UsageError(
            f"this changes the budget of {meant}, not of {other}: nothing was written",
            hint=f"type dollars alone, or leave this and add `{other}`",
        )
    return usd


def known_projects(context: Context) -> tuple[str, ...]:
    """Names of projects that runs were charged to, in order."""
    with reading(context) as ledger:
        return () if ledger is None else ledger.look(projects)


def budget_states(context: Context) -> tuple[BudgetState, ...]:
    """Where each budget stands, that of the month first; StateError when the ledger cannot be read."""
    now_s = context.clock()
    with reading(context) as ledger:
        return () if ledger is None else ledger.look(lambda db: standings(db, now_s))


def budget_left(context: Context, project: str | None) -> BudgetState | None:
    """The budget that leaves a run of this project, launched by this user, least; None: nothing bounds it."""
    now_s = context.clock()
    with reading(context) as ledger:
        return None if ledger is None else ledger.look(lambda db: tightest_for(db, project, now_s, context.user))


def cap_of_budgets(context: Context, project: str | None) -> BudgetCap | None:
    """What the budgets leave for one run of this project, as the cap of a plan; None: nothing bounds it."""
    tight = budget_left(context, project)
    return None if tight is None else BudgetCap(usd=max(Decimal(0), tight.left_usd), name=tight.title, text=tight.text)


def launch_cap(context: Context, plan: Plan, cap_usd: Decimal | None) -> Decimal | None:
    """The cap of a launch: what was asked for, under what the budgets leave at this moment; None: no cap.

    Args:
        context: surroundings.
        plan: what was shown to the user.
        cap_usd: what was confirmed; None: nothing.

    Raises:
        OverBudgetError: a budget leaves less than the plan costs, at the end that its budget compares.
    """
    choice = plan.choice
    if choice is None:
        return cap_usd
    cost = choice.cost_usd
    if choice.offer.cloud == "local" and cost is not None and cost.high == 0:
        # What costs nothing needs no budget; a cap of nothing would end it at its first step.
        return cap_usd or plan.spec.budget.max_usd
    tight = budget_left(context, plan.spec.project)
    if tight is None or (cap_usd is not None and 0 < cap_usd <= tight.left_usd):
        return cap_usd
    if tight.left_usd <= 0 or (cost is not None and cost_at(plan.spec.budget, cost) > tight.left_usd):
        told = "its price is unknown" if cost is None else f"the plan costs {cost_told(plan.spec.budget, cost)}"
        raise OverBudgetError(
            f"{told}, and {tight.text}: nothing was started",
            hint="wait for runs to end, plan less, or raise the budget with `tunefare budget set`",
        )
    return tight.left_usd


def time_zone(context: Context) -> str:
    """Whose calendar months and days budgets have."""
    return "this machine's local time" if context.ledger_url is None else "UTC"


def month_history(context: Context, months: int = HISTORY_MONTHS) -> tuple[MonthSpent, ...]:
    """What was charged in each of the last months, the present one first."""
    with reading(context) as ledger:
        return () if ledger is None else ledger.look(lambda db: _history(db, months, context.clock()))


def _history(db: Database, months: int, now_s: float) -> tuple[MonthSpent, ...]:
    zone = zone_of(db)
    shown = [month_of(now_of(db, now_s), zone)]
    while len(shown) < months:
        shown.append(month_before(shown[-1], zone))
    return tuple(
        MonthSpent(month=month, spent=spent, limit_usd=_month_limit(db, month))
        for month, spent in zip(shown, spent_in_each(db, shown), strict=True)
    )


def _month_limit(db: Database, month: Month) -> Decimal | None:
    """As it stood at the month's end."""
    found = limits(db, month.to_s)
    return next((limit.usd for limit in found if limit.scope is BudgetScope.MONTH), None)


def budget_scope(text: str) -> BudgetScope:
    """What a budget bounds, by its name.

    Raises:
        UsageError: there is no such budget.
    """
    try:
        return BudgetScope(text)
    except ValueError as error:
        raise UsageError(f"{text!r} has no budget", hint="budgets are of a month, a user or a project") from error


def _title(scope: BudgetScope, name: str) -> str:
    return "month budget" if scope is BudgetScope.MONTH else f"budget of {scope} {name}"
