"""Money in words: what nobody knows is never told as nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from manager.runs.budgets import BillingRun, Spent, month_of
from manager.runs.states import RunState
from manager.service.money import MoneyNow
from manager.service.money_words import day_text, rate_text, rate_words

NOW_S = 1_790_000_000.0


def money(*prices: str | None) -> MoneyNow:
    runs = tuple(
        BillingRun(
            run_id=f"job-{number}",
            state=RunState.RUNNING,
            price_usd_per_hour=None if price is None else Decimal(price),
        )
        for number, price in enumerate(prices)
    )
    nothing = Spent(usd=Decimal(0))
    return MoneyNow(at_s=NOW_S, month=month_of(NOW_S), budget=None, today=nothing, runs=runs)


@pytest.mark.parametrize(
    ("prices", "short", "long"),
    [
        ((), "$0.00/h", "$0.00/h"),
        (("0.50", "0.35"), "$0.85/h", "$0.85/h"),
        (("0.50", None), "at least $0.50/h", "$0.50/h and 1 at an unknown price"),
        ((None,), "price unknown", "price unknown"),
    ],
)
def test_rates(prices: tuple[str | None, ...], short: str, long: str) -> None:
    amounts = [None if price is None else Decimal(price) for price in prices]
    assert rate_words(amounts, is_short=True) == short
    assert rate_words(amounts) == long


def test_runs_of_unknown_prices_are_not_told_as_free() -> None:
    unknown = money(None, None)
    assert rate_text(unknown) == "price unknown now, 2 runs"
    assert rate_text(unknown, is_short=True) == "price unknown now"
    assert day_text(unknown) == "if left running: cost unknown"


def test_what_is_known_in_part_is_told_as_that() -> None:
    part = money("0.50", None)
    assert rate_text(part) == "at least $0.50/h now (1 of 2 runs at an unknown price)"
    assert day_text(part, is_short=True) == "left running: at least $12.00/day"


def test_nothing_that_is_billed() -> None:
    assert rate_text(money()) == "$0.00/h now"
    assert day_text(money()) is None
