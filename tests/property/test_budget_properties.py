"""Budgets: spent, committed and left add up; months share charges out; no launch passes that they do not hold."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.errors import OverBudgetError
from manager.runs.budget_rows import spent_in, spent_in_each, standings, tightest_for
from manager.runs.budgets import BudgetScope, Month, day_start_s, month_before, month_of, share_usd
from manager.runs.charges import charge
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from tests.support.budget_stage import create, ended, launched

NOW_S = datetime(2026, 11, 14, 12, tzinfo=UTC).timestamp()
ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
MOMENTS = st.integers(0, 2**32).map(float)
AMOUNTS = st.decimals("0.000001", "10000", places=6)
RUNS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b"]),
        st.none() | AMOUNTS,  # cap
        st.none() | st.decimals("0.01", "100", places=2),  # price
        st.integers(1, 100_000),  # seconds charged
        st.sampled_from(["open", "succeeded", "unconfirmed"]),
    ),
    max_size=5,
)


@given(AMOUNTS, MOMENTS, st.integers(0, 10**7), st.lists(st.integers(0, 10**7), max_size=6))
def test_parts_of_a_charge_add_up(amount: Decimal, from_s: float, length_s: int, cuts: list[int]) -> None:
    moments = [from_s - 1, *sorted(from_s + min(cut, length_s) for cut in cuts), from_s + length_s + 1]
    parts = [
        share_usd(amount, from_s=from_s, to_s=from_s + length_s, since_s=since, until_s=until)
        for since, until in pairwise(moments)
    ]
    assert sum(parts) == amount
    assert all(part >= 0 for part in parts)


@given(MOMENTS, ZONES)
def test_months_follow_each_other_without_a_gap(at_s: float, zone: timezone) -> None:
    month = month_of(at_s, zone)
    assert month.from_s <= day_start_s(at_s, zone) <= at_s < month.to_s
    before = month_before(month, zone)
    assert before.to_s == month.from_s
    assert before.name < month.name


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 60 * 86_400), st.integers(0, 40 * 86_400)), min_size=1, max_size=6),
    st.decimals("0.01", "100", places=2),
)
def test_months_share_all_charges_out(stretches: list[tuple[int, int]], price: Decimal) -> None:
    months = [month_of(NOW_S)]
    for _ in range(5):
        months.append(month_before(months[-1]))
    until = Month(name="later", from_s=months[0].to_s, to_s=months[0].to_s + 10**9)
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as ledger:
        total = Decimal(0)
        for number, (ago_s, length_s) in enumerate(stretches):
            name, from_s = f"r-{number}", NOW_S - ago_s
            launched(ledger, name, cap="1000000", price=price, at_s=from_s)
            row = charge(from_s=from_s, to_s=from_s + length_s, price_usd_per_hour=price, at_s=NOW_S)
            ledger.add_charge(name, row)
            total += row.amount_usd or 0
        spent = [ledger.look(partial(spent_in, month=month)) for month in (*months, until)]
        assert ledger.look(partial(spent_in_each, months=[until, *months])) == (spent[-1], *spent[:-1])
    assert sum(one.usd for one in spent) == total
    assert not any(one.unknown_charges for one in spent)


@settings(deadline=None, max_examples=30)
@given(RUNS, AMOUNTS, AMOUNTS, st.sampled_from([None, "a", "b"]), AMOUNTS)
def test_spent_committed_and_left_are_the_limit_and_no_launch_passes_beyond(
    runs: list[tuple[str | None, Decimal | None, Decimal | None, int, str]],
    month: Decimal,
    of_a: Decimal,
    project: str | None,
    cap: Decimal,
) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as ledger:
        for number, (owner, own_cap, price, charged_s, end) in enumerate(runs):
            name = f"r-{number}"
            cap_text = None if own_cap is None else str(own_cap)
            start_s = NOW_S - 100_000
            launched(ledger, name, project=owner, cap=cap_text, price=price, at_s=start_s, charged_s=float(charged_s))
            if end != "open":
                ended(ledger, name, NOW_S, state=RunState(end))
        ledger.set_budget(BudgetScope.MONTH, "", month, NOW_S)
        ledger.set_budget(BudgetScope.PROJECT, "a", of_a, NOW_S)
        for one in ledger.look(lambda db: standings(db, NOW_S)):
            assert one.spent.usd + one.committed_usd + one.left_usd == one.limit.usd
            mine = [run for run in runs if one.limit.scope is BudgetScope.MONTH or run[0] == one.limit.name]
            assert {run.run_id for run in one.runs} == {
                f"r-{number}" for number, run in enumerate(runs) if run in mine and run[4] != "succeeded"
            }
            assert one.spent.unknown_charges == sum(run[2] is None for run in mine)
        tight = ledger.look(lambda db: tightest_for(db, project, NOW_S))
        assert tight is not None
        assert tight.limit.name in ("", project or "")
        bounding = [
            one for one in ledger.look(lambda db: standings(db, NOW_S)) if one.limit.name in ("", project or "")
        ]
        is_known = not any(one.uncapped_runs for one in bounding)
        check_launch(ledger, project, cap, tight.left_usd if is_known else Decimal(0))


def check_launch(ledger: Ledger, project: str | None, cap: Decimal, left: Decimal) -> None:
    if cap > left:
        with pytest.raises(OverBudgetError):
            create(ledger, "next", project=project, cap=str(cap), at_s=NOW_S)
        return
    create(ledger, "next", project=project, cap=str(cap), at_s=NOW_S)
    after = ledger.look(lambda db: tightest_for(db, project, NOW_S))
    assert after is not None
    assert after.left_usd >= 0
