"""Money in words, the same on the command line and in every front end; unknown is said, never left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from manager.runs.budgets import OpenRun, Spent, Standing
from manager.runs.states import RunState
from manager.service.money import MoneyNow
from manager.units import format_usd


def spent_text(spent: Spent, *, is_short: bool = False) -> str:
    """`$3.10`, or `at least $3.10, 2 charges unknown`."""
    if not spent.unknown_charges:
        return format_usd(spent.usd)
    number = spent.unknown_charges
    told = "" if is_short else f", {number} {'charge' if number == 1 else 'charges'} unknown"
    return f"at least {format_usd(spent.usd)}{told}"


def left_text(standing: Standing) -> str:
    """`$12.30`, `at most $12.30`, `$3.20 over`."""
    if standing.left_usd < 0:
        return f"{format_usd(-standing.left_usd)} over"
    return f"{'' if standing.is_exact else 'at most '}{format_usd(standing.left_usd)}"


def committed_text(standing: Standing) -> str:
    """`$5.00`, or `at least $5.00` where nobody knows what a run may cost."""
    return f"{'at least ' if standing.uncapped_runs else ''}{format_usd(standing.committed_usd)}"


def unlaunched_text(run: OpenRun) -> str:
    """How a commitment is freed which nobody may ever use; empty for a run that was launched."""
    if run.state is not RunState.PLANNED:
        return ""
    return f"; not launched yet: where nothing launches it any more, `tunefare reconcile {run.run_id}` frees this"


def month_text(money: MoneyNow, *, is_short: bool = False) -> str:
    """`left $12.30 of $50.00 (Nov)`; without a budget what the month has cost is not bounded."""
    if money.budget is None:
        return "no month budget"
    month = "" if is_short else f" ({datetime.fromtimestamp(money.month.from_s):%b})"
    limit = format_usd(money.budget.limit.usd)
    if money.budget.left_usd < 0:
        return f"OVER BUDGET by {format_usd(-money.budget.left_usd)} of {limit}{month}"
    return f"left {left_text(money.budget)} of {limit}{month}"


def rate_words(prices: Sequence[Decimal | None], *, is_short: bool = False) -> str:
    """`$0.85/h`; `$0.85/h and 1 at an unknown price`, short `at least $0.85/h`; `price unknown` where none is known.

    Args:
        prices: of machines, dollars per hour; None: unknown.
        is_short: without the number of those whose price is unknown.
    """
    known = [price for price in prices if price is not None]
    unknown = len(prices) - len(known)
    if unknown and not known:
        return "price unknown"
    rate = f"{format_usd(sum(known, Decimal(0)))}/h"
    if not unknown:
        return rate
    return f"at least {rate}" if is_short else f"{rate} and {unknown} at an unknown price"


def rate_text(money: MoneyNow, *, is_short: bool = False) -> str:
    """`$0.85/h now`, `at least $0.85/h now (1 of 2 runs at an unknown price)`, `price unknown now, 1 run`."""
    unknown, runs = money.unknown_prices, len(money.runs)
    text = f"{rate_words([run.price_usd_per_hour for run in money.runs], is_short=True)} now"
    if is_short or not runs:
        return text
    named = "run" if runs == 1 else "runs"
    is_part = 0 < unknown < runs
    return f"{text} ({unknown} of {runs} {named} at an unknown price)" if is_part else f"{text}, {runs} {named}"


def today_text(money: MoneyNow) -> str:
    """`$3.20 today`."""
    return f"{spent_text(money.today, is_short=True)} today"


def day_text(money: MoneyNow, *, is_short: bool = False) -> str | None:
    """`if left running: $20.40/day`; None: nothing may be billed."""
    if not money.runs:
        return None
    unknown = money.unknown_prices
    per_day = f"{'at least ' if unknown else ''}{format_usd(money.usd_per_day)}/day"
    return f"{'' if is_short else 'if '}left running: {per_day if unknown < len(money.runs) else 'cost unknown'}"


def unconfirmed_text(money: MoneyNow) -> str | None:
    """What may be billed without anybody's word: `1 run NOT CONFIRMED as gone: job-1`; None: nothing."""
    names = money.unconfirmed
    if not names:
        return None
    more = "" if len(names) == 1 else f" and {len(names) - 1} more"
    return f"{len(names)} {'run' if len(names) == 1 else 'runs'} NOT CONFIRMED as gone: {names[0]}{more}"
