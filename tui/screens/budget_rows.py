"""What the screen Budgets puts into its tables: standings in, text and bars of characters out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from manager.service.budgets import BudgetScope, BudgetState, MonthSpent
from manager.service.money_words import committed_text, left_text, spent_text, unlaunched_text
from manager.units import format_usd
from tui.widgets.table import Column, Row

BUDGETS = (
    Column(key="budget", title="budget", widest=30),
    Column(key="left", title="left", is_number=True),
    Column(key="limit", title="limit", is_number=True),
    Column(key="spent", title="spent", is_number=True, cut=1),
    Column(key="committed", title="committed", is_number=True, cut=2),
    Column(key="bar", title="█ spent ▒ committed", cut=3, widest=24),
)
MONTHS = (
    Column(key="month", title="month"),
    Column(key="spent", title="spent", is_number=True),
    Column(key="limit", title="of budget", is_number=True, cut=1),
    Column(key="bar", title="█ spent", cut=2, widest=16),
)
_CELLS = 20
_MONTH_CELLS = 12
_SPENT, _COMMITTED, _LEFT = "█", "▒", "·"


def budget_key(state: BudgetState) -> str:
    """Stable while the budget is there."""
    return f"{state.limit.scope}/{state.limit.name}"


def budget_row(state: BudgetState) -> Row:
    """One budget."""
    limit, spent, committed = state.limit.usd, state.spent.usd, state.committed_usd
    is_month = state.limit.scope is BudgetScope.MONTH
    return Row(
        key=budget_key(state),
        cells=(
            f"month {'' if state.month is None else state.month.name}" if is_month else f"project {state.limit.name}",
            left_text(state),
            format_usd(limit),
            spent_text(state.spent, is_short=True),
            committed_text(state),
            bar(spent, committed, limit, _CELLS),
        ),
        sort=(state.limit.name, state.left_usd, limit, spent, committed, (spent + committed) / limit),
        style="error" if state.left_usd < 0 else "",
    )


def month_rows(history: Sequence[MonthSpent]) -> list[Row]:
    """The months, the present one first; without a budget against the dearest of them."""
    dearest = max((one.spent.usd for one in history), default=Decimal(0))
    return [_month_row(one, dearest) for one in history]


def details(state: BudgetState | None) -> str:
    """Who has committed what, and what is not known of it."""
    if state is None:
        return ""
    lines = [state.text]
    for run in state.runs:
        whose = f"{run.run_id} ({str(run.state).replace('_', ' ')})"
        if run.committed_usd is None:
            lines.append(f"{whose}: no cap and no estimate, nobody knows what it may cost{unlaunched_text(run)}")
            continue
        of = "its estimate" if run.cap_usd is None else "its cap"
        most = format_usd(run.estimate_high_usd if run.cap_usd is None else run.cap_usd)
        charged, how = spent_text(run.charged), unlaunched_text(run)
        lines.append(f"{whose}: up to {format_usd(run.committed_usd)} more; charged {charged}, {of} is {most}{how}")
    if not state.runs:
        lines.append("no run is under way that counts against it")
    if state.spent.unknown_charges:
        lines.append(f"spent {spent_text(state.spent)}")
    return "\n".join(lines)


def bar(spent: Decimal, committed: Decimal, limit: Decimal, cells: int) -> str:
    """`██▒▒····`: spent and committed of a limit; something is never drawn as nothing, nor nearly all as all."""
    if limit <= 0:
        return ""
    used = _cells(spent + committed, limit, cells)
    full = min(_cells(spent, limit, cells), used if not committed else max(used - 1, 0)) if spent else 0
    return f"{_SPENT * full}{_COMMITTED * (used - full)}{_LEFT * (cells - used)}"


def _month_row(one: MonthSpent, dearest: Decimal) -> Row:
    limit = one.limit_usd if one.limit_usd is not None else dearest
    over = one.limit_usd is not None and one.spent.usd > one.limit_usd
    return Row(
        key=one.month.name,
        cells=(
            one.month.name,
            f"{spent_text(one.spent, is_short=True)}{' OVER' if over else ''}",
            "none" if one.limit_usd is None else format_usd(one.limit_usd),
            bar(one.spent.usd, Decimal(0), limit, _MONTH_CELLS),
        ),
        sort=(one.month.name, one.spent.usd, one.limit_usd, one.spent.usd),
        style="error" if over else "",
    )


def _cells(part: Decimal, limit: Decimal, cells: int) -> int:
    if part <= 0:
        return 0
    if part >= limit:
        return cells
    return min(max(1, round(part * cells / limit)), cells - 1)
