"""Budgets as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from manager.service.budgets import BudgetState, MonthSpent
from manager.service.money import MoneyNow
from manager.service.money_words import (
    committed_text,
    day_text,
    left_text,
    rate_text,
    spent_text,
    today_text,
    unconfirmed_text,
    unlaunched_text,
)
from manager.units import format_usd

SCHEMA = 1


def print_budgets(
    states: Sequence[BudgetState],
    history: Sequence[MonthSpent],
    money: MoneyNow,
    out: Console,
    *,
    time_zone: str = "this machine's local time",
) -> None:
    """The budgets, what open runs have committed, what is billed now, and what past months have cost."""
    if not states:
        out.print("no budget is set; `tunefare budget set month 200` bounds all runs of each calendar month")
    else:
        table = Table("budget", box=None, pad_edge=False)
        for title in ("limit", "spent", "committed", "left"):
            table.add_column(title, justify="right", no_wrap=True)
        for state in states:
            spent = spent_text(state.spent, is_short=True)
            table.add_row(state.title, format_usd(state.limit.usd), spent, committed_text(state), left_text(state))
        out.print(table)
        for line in _remarks(states):
            out.print(line)
    out.print(money_text(money))
    if history:
        out.print()
        for one in history:
            limit = "" if one.limit_usd is None else f" of {format_usd(one.limit_usd)}"
            out.print(f"{one.month.name}  {spent_text(one.spent)}{limit}")
        out.print(f"charges of machines at launch prices, in calendar months of {time_zone}")


def money_text(money: MoneyNow) -> str:
    """`$0.85/h now, 1 run; $3.20 today; if left running: $20.40/day`."""
    parts = (rate_text(money), today_text(money), day_text(money), unconfirmed_text(money))
    return "; ".join(part for part in parts if part)


def budgets_to_json(states: Sequence[BudgetState], history: Sequence[MonthSpent], money: MoneyNow) -> dict[str, Any]:
    """Budgets in their published form, schema 1; dollars, Unix seconds, null where unknown or not set."""
    return {
        "schema": SCHEMA,
        "budgets": [_state_to_json(state) for state in states],
        "months": [
            {
                "month": one.month.name,
                "from_s": one.month.from_s,
                "to_s": one.month.to_s,
                "spent_usd": float(one.spent.usd),
                "unknown_charges": one.spent.unknown_charges,
                "limit_usd": _number(one.limit_usd),
            }
            for one in history
        ],
        "now": {
            "at_s": money.at_s,
            "usd_per_hour": float(money.usd_per_hour),
            "usd_per_day": float(money.usd_per_day),
            "unknown_prices": money.unknown_prices,
            "today_usd": float(money.today.usd),
            "today_unknown_charges": money.today.unknown_charges,
            "runs_that_may_bill": [run.run_id for run in money.runs],
            "unconfirmed": list(money.unconfirmed),
        },
    }


def _state_to_json(state: BudgetState) -> dict[str, Any]:
    return {
        "scope": str(state.limit.scope),
        "name": state.limit.name or None,
        "month": None if state.month is None else state.month.name,
        "limit_usd": float(state.limit.usd),
        "since_s": state.limit.since_s,
        "spent_usd": float(state.spent.usd),
        "unknown_charges": state.spent.unknown_charges,
        "committed_usd": float(state.committed_usd),
        "left_usd": float(state.left_usd),
        "is_exact": state.is_exact,
        "runs": [
            {
                "run_id": run.run_id,
                "state": str(run.state),
                "project": run.project,
                "user": run.user,
                "cap_usd": _number(run.cap_usd),
                "charged_usd": float(run.charged.usd),
                "committed_usd": _number(run.committed_usd),
            }
            for run in state.runs
        ],
    }


def _remarks(states: Sequence[BudgetState]) -> list[str]:
    lines = []
    for run in {run.run_id: run for state in states for run in state.runs}.values():
        whose, how = f"{run.run_id} ({run.state})", unlaunched_text(run)
        if run.committed_usd is None:
            lines.append(f"{whose} has no cap and no estimate: nobody knows what it may cost{how}")
        elif run.committed_usd > 0:
            lines.append(f"{whose} may still cost {format_usd(run.committed_usd)}{how}")
    for state in states:
        if state.spent.unknown_charges:
            lines.append(f"{state.title}: {spent_text(state.spent)} are spent")
        if state.left_usd < 0:
            lines.append(state.text)
    return lines


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
