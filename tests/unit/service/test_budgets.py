"""Budgets as the command line and the screens ask for them, over a real ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode, OverBudgetError, UsageError
from manager.runs.charges import charge
from manager.runs.states import RunState
from manager.service.budgets import (
    BudgetScope,
    budget_left,
    budget_states,
    cap_of_budgets,
    launch_cap,
    month_history,
    set_budget,
)
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.money import money_now
from tests.support.budget_stage import create, ended, launched
from tests.support.contexts import make_context
from tests.support.diff_stage import fixed_plan
from tests.unit.runs.samples import offer, plan

HOUR_S = 3600.0
NOW_S = datetime(2026, 11, 14, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Months of a known time zone, and back."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield patch
    time.tzset()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=lambda: NOW_S)


def test_nothing_is_bounded_and_no_ledger_made_before_a_budget_is_set(context: Context) -> None:
    assert budget_states(context) == ()
    assert budget_left(context, "research") is None
    assert month_history(context) == ()
    money = money_now(context)
    assert money.budget is None
    assert (money.usd_per_hour, money.today.usd) == (Decimal(0), Decimal(0))
    assert not money.runs
    assert not context.home.ledger_file.exists()


def test_spent_committed_and_left(context: Context) -> None:
    with open_ledger(context) as ledger:
        launched(ledger, "a", cap="5", at_s=NOW_S - 2 * HOUR_S, charged_s=HOUR_S)
        launched(ledger, "b", project="research", at_s=NOW_S - HOUR_S, charged_s=HOUR_S / 2)
        launched(ledger, "c", project="research", cap="9", at_s=NOW_S - 40 * 24 * HOUR_S, charged_s=HOUR_S)
        ended(ledger, "c", NOW_S - 39 * 24 * HOUR_S)
    set_budget(context, "month", None, Decimal(50))
    set_budget(context, "project", "research", Decimal(12))
    month, research = budget_states(context)
    # 3.60 $/h: a has 5 - 3.60 to go, b (without a cap) the high end of its estimate, 7.20, less 1.80.
    assert (month.spent.usd, month.committed_usd, month.left_usd) == (
        Decimal("5.40"), Decimal("6.80"), Decimal("37.80"),
    )  # fmt: skip
    assert [run.run_id for run in month.runs] == ["a", "b"]
    # Of a project the charges of all months count.
    assert (research.spent.usd, research.committed_usd, research.left_usd) == (
        Decimal("5.40"), Decimal("5.40"), Decimal("1.20"),
    )  # fmt: skip
    assert month.text == "month budget 2026-11 leaves $37.80 of $50.00"
    left = budget_left(context, "research")
    assert left == research
    assert budget_left(context, None) == month


def test_the_latest_row_counts_and_none_takes_a_budget_away(context: Context) -> None:
    set_budget(context, "month", None, Decimal(50))
    set_budget(context, "month", None, Decimal(70))
    assert [state.limit.usd for state in budget_states(context)] == [Decimal(70)]
    set_budget(context, "month", None, None)
    assert budget_states(context) == ()
    with pytest.raises(UsageError, match="there is no month budget"):
        set_budget(context, "month", None, None)


@pytest.mark.parametrize(("scope", "name", "usd"), [
    ("week", None, "5"), ("month", "x", "5"), ("project", None, "5"), ("project", "A B", "5"), ("month", None, "0"),
    ("month", None, "-1"), ("month", None, "NaN"), ("month", None, "Infinity"),
])  # fmt: skip
def test_what_is_no_budget_is_refused(context: Context, scope: str, name: str | None, usd: str) -> None:
    with pytest.raises(UsageError):
        set_budget(context, scope, name, Decimal(usd))
    assert budget_states(context) == ()


def test_an_unconfirmed_teardown_counts_on_and_an_unknown_charge_is_at_least(context: Context) -> None:
    set_budget(context, "month", None, Decimal(50))
    with open_ledger(context) as ledger:
        launched(ledger, "gone", cap="5", at_s=NOW_S - 2 * HOUR_S, charged_s=HOUR_S)
        ended(ledger, "gone", NOW_S, state=RunState.UNCONFIRMED)
        launched(ledger, "dark", cap="5", price=None, at_s=NOW_S - HOUR_S, charged_s=HOUR_S / 2)
    (month,) = budget_states(context)
    assert (month.spent.usd, month.spent.unknown_charges) == (Decimal("3.60"), 1)
    assert month.committed_usd == Decimal("1.40") + 5
    assert not month.is_exact
    assert month.text == "month budget 2026-11 leaves at most $40.00 of $50.00"
    money = money_now(context)
    assert money.usd_per_hour == Decimal("3.60")
    assert money.usd_per_day == Decimal("86.40")
    assert (money.unknown_prices, money.unconfirmed) == (1, ("gone",))
    assert (money.today.usd, money.today.unknown_charges) == (Decimal("3.60"), 1)


def test_months_are_those_of_local_time_and_a_charge_across_their_end_is_divided(
    tmp_path: Path, utc: pytest.MonkeyPatch
) -> None:
    utc.setenv("TZ", "Europe/Berlin")
    time.tzset()
    first_s = datetime(2026, 10, 31, 23, tzinfo=UTC).timestamp()  # Midnight in Berlin.
    context = make_context(tmp_path, clock=lambda: first_s + 5 * HOUR_S)
    with open_ledger(context) as ledger:
        launched(ledger, "r", cap="50", at_s=first_s - HOUR_S)
        row = charge(
            from_s=first_s - HOUR_S, to_s=first_s + 2 * HOUR_S, price_usd_per_hour=Decimal("3.60"), at_s=first_s
        )
        ledger.add_charge("r", row)
    november, october, september = month_history(context, 3)
    assert (november.month.name, november.month.from_s) == ("2026-11", first_s)
    assert (november.spent.usd, october.spent.usd, september.spent.usd) == (
        Decimal("7.20"),
        Decimal("3.60"),
        Decimal(0),
    )
    assert money_now(context).today.usd == Decimal("7.20")


def test_history_tells_the_limit_of_then(tmp_path: Path) -> None:
    now = [datetime(2026, 10, 5, tzinfo=UTC).timestamp()]
    context = make_context(tmp_path, clock=lambda: now[0])
    set_budget(context, "month", None, Decimal(40))
    now[0] = NOW_S
    set_budget(context, "month", None, Decimal(50))
    assert [one.limit_usd for one in month_history(context, 3)] == [Decimal(50), Decimal(40), None]


def test_a_launch_is_capped_by_what_is_left(context: Context) -> None:
    assert launch_cap(context, plan(), None) is None
    set_budget(context, "month", None, Decimal(10))
    assert launch_cap(context, plan(), None) == Decimal(10)
    assert launch_cap(context, plan(), Decimal(4)) == Decimal(4)
    with open_ledger(context) as ledger:
        create(ledger, "r", cap="5", at_s=NOW_S)
    assert launch_cap(context, plan(), Decimal(7)) == Decimal(5)
    cap = cap_of_budgets(context, None)
    assert cap is not None
    assert (cap.usd, cap.name) == (Decimal(5), "month budget 2026-11")


def test_a_launch_that_costs_more_than_is_left_is_refused(context: Context) -> None:
    set_budget(context, "month", None, Decimal(3))
    with pytest.raises(OverBudgetError, match=r"costs \$3.60 \(expected\), and month budget 2026-11 leaves") as caught:
        launch_cap(context, plan(), None)
    assert caught.value.exit_code is ExitCode.OVER_BUDGET


def test_what_costs_nothing_here_is_launched_though_nothing_is_left(context: Context) -> None:
    set_budget(context, "month", None, Decimal(3))
    with open_ledger(context) as ledger:
        create(ledger, "r", cap="3", at_s=NOW_S)
    free = plan(price=Decimal(0))
    assert launch_cap(context, free, Decimal(0)) is None
    cloud = replace(free, offers=(replace(free.offers[0], offer=replace(offer(Decimal(0)), cloud="slurm")),))
    with pytest.raises(OverBudgetError):
        launch_cap(context, cloud, Decimal(0))


def test_a_project_is_bounded_by_its_own_budget_alone_where_that_leaves_less(context: Context) -> None:
    set_budget(context, "project", "research", Decimal(5))
    made = fixed_plan(dollars="4", hours=2)
    assert launch_cap(context, made, None) is None
    of_project = replace(made, spec=replace(made.spec, project="research"))
    assert launch_cap(context, of_project, None) == Decimal(5)
    (state,) = budget_states(context)
    assert (state.limit.scope, state.title) == (BudgetScope.PROJECT, "budget of project research")
