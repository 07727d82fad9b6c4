"""The screen Budgets and the line of money, over a real ledger."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from manager.runs.states import RunState
from manager.service.budgets import budget_states, set_budget
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.money import MoneyNow, money_now
from tests.support import price_stage
from tests.support.budget_stage import create, ended, launched
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context
from tui.actions import actions_of
from tui.app import TunefareApp
from tui.screens.budget_rows import bar
from tui.screens.budgets import BudgetsScreen
from tui.widgets.money_line import MoneyLine
from tui.widgets.table import RowTable

NOW_S = price_stage.NOW_S
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


@pytest.fixture(autouse=True)
def _begins_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen Plan has much to read, and nothing to do here."""
    monkeypatch.setattr(TunefareApp, "DEFAULT_MODE", "budgets")


def with_runs(folder: Path, theme: str = "dark") -> Context:
    """A run under way and two that are over; no budget."""
    context = tui_context(folder, theme=theme)
    with open_ledger(context) as ledger:
        launched(ledger, "news-a1", project="research", cap="8", at_s=NOW_S - 1.5 * HOUR_S, charged_s=1.5 * HOUR_S)
        launched(ledger, "bert-b2", project="research", cap="5", at_s=NOW_S - 40 * DAY_S, charged_s=HOUR_S)
        ended(ledger, "bert-b2", NOW_S - 39 * DAY_S)
        launched(ledger, "vit-c3", cap="5", at_s=NOW_S - DAY_S, charged_s=HOUR_S)
        ended(ledger, "vit-c3", NOW_S - DAY_S + HOUR_S)
    return context


def with_budgets(folder: Path, theme: str = "dark") -> Context:
    """The same, under budgets."""
    context = with_runs(folder, theme)
    set_budget(context, "month", None, Decimal(50))
    set_budget(context, "project", "research", Decimal(12))
    return context


def app_of(pilot: Pilot[None]) -> TunefareApp:
    assert isinstance(pilot.app, TunefareApp)
    return pilot.app


async def budgets_of(pilot: Pilot[None]) -> BudgetsScreen:
    screen = pilot.app.screen
    assert isinstance(screen, BudgetsScreen)
    return screen


async def press(pilot: Pilot[None], *keys: str) -> str:
    for key in keys:
        await pilot.press(key)
        await settled(pilot)
    return text_of(app_of(pilot))


def line(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line)


def limits(context: Context) -> dict[str, Decimal]:
    return {state.limit.name or "month": state.limit.usd for state in budget_states(context)}


async def test_limit_spent_committed_left_and_by_whom(tmp_path: Path) -> None:
    async with running(TunefareApp(with_budgets(tmp_path))) as pilot:
        await budgets_of(pilot)
        text = text_of(app_of(pilot))
        # 3.60 $/h: this month 1.5 h and 1 h; the run under way has 8.00 less 5.40 to go.
        for amount in ("$38.40", "$50.00", "$9.00", "$2.60"):
            assert amount in line(text, "month 2027-01")
        for amount in ("$0.40", "$12.00", "$9.00", "$2.60"):
            assert amount in line(text, "project research")
        assert "news-a1 (running): up to $2.60 more; charged $5.40, its cap is $8.00" in text
        assert "$3.60" in line(text, "2026-12")
        assert "budget of project research leaves $0.40 of $12.00" in await press(pilot, "j")


async def test_a_budget_is_typed_and_the_line_of_money_knows_it(tmp_path: Path) -> None:
    context = with_runs(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        await budgets_of(pilot)
        text = text_of(app_of(pilot))
        assert "no budget yet: a adds one" in text
        assert "no month budget · $3.60/h now, 1 run · $5.40 today · if left running: $86.40/day" in text
        await press(pilot, "a", *"month", "space", *"20")
        assert pilot.app.screen.query_one("#edit", Input).value == "month 20"
        text = await press(pilot, "enter")
        assert limits(context) == {"month": Decimal(20)}
        assert "left $8.40 of $20.00 (Jan)" in text.splitlines()[1]
        await press(pilot, "a", *"research", "space", *"30", "enter")
        assert limits(context) == {"month": Decimal(20), "research": Decimal(30)}


async def test_enter_changes_the_amount_and_escape_leaves_it(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        screen = await budgets_of(pilot)
        await press(pilot, "j", "enter")
        edit = screen.query_one("#edit", Input)
        assert edit.value == "12"
        await press(pilot, "5", "escape")
        assert not edit.has_class("-open")
        assert screen.query_one("#budgets", RowTable).rows.has_focus
        assert limits(context)["research"] == Decimal(12)
        await press(pilot, "e", "5", "enter")
        assert limits(context) == {"month": Decimal(50), "research": Decimal(5)}


async def test_a_change_that_names_another_budget_changes_none(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        screen = await budgets_of(pilot)
        await press(pilot, "enter")
        edit = screen.query_one("#edit", Input)
        edit.value = "research 7"
        assert "changes the budget of month, not of research" in await press(pilot, "enter")
        assert edit.has_class("-open")
        assert limits(context) == {"month": Decimal(50), "research": Decimal(12)}
        edit.value = "month 70"
        await press(pilot, "enter")
        assert limits(context) == {"month": Decimal(70), "research": Decimal(12)}


async def test_a_run_that_was_never_launched_is_told_with_what_frees_its_cap(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    with open_ledger(context) as ledger:
        create(ledger, "lost-d4", cap="8", at_s=NOW_S - HOUR_S)
    async with running(TunefareApp(context), (200, 50)) as pilot:
        text = text_of(app_of(pilot))
        assert "lost-d4 (planned): up to $8.00 more" in text
        assert "`tunefare reconcile lost-d4` frees this" in " ".join(text.replace("│", " ").split())


async def test_a_budget_is_taken_away_by_the_second_press(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        await budgets_of(pilot)
        assert "Once more takes the month budget of $50.00 away" in await press(pilot, "delete")
        assert set(limits(context)) == {"month", "research"}
        # Another row, or Esc, is no second press.
        assert "Once more" not in await press(pilot, "j")
        assert "Once more takes the budget of project research" in await press(pilot, "delete")
        assert "Once more" not in await press(pilot, "escape")
        assert set(limits(context)) == {"month", "research"}
        assert "project research" not in line(await press(pilot, "delete", "delete"), "budget ")
        assert set(limits(context)) == {"month"}


@pytest.mark.parametrize(("typed", "told"), [
    ("x", "'x' is not an amount in dollars"), ("", "how many dollars?"), ("month -5", "-5 dollars are no budget"),
    ("A 5", "'A' is no project"), ("a b 5", "'a b' is no project"),
])  # fmt: skip
async def test_a_mistake_is_told_below_and_what_was_typed_stays(tmp_path: Path, typed: str, told: str) -> None:
    context = with_runs(tmp_path)
    async with running(TunefareApp(context), (80, 24)) as pilot:
        screen = await budgets_of(pilot)
        await press(pilot, "a")
        edit = screen.query_one("#edit", Input)
        edit.value = typed
        assert f"error: {told}" in await press(pilot, "enter")
        assert (edit.value, edit.has_class("-open")) == (typed, True)
        assert not limits(context)


async def test_a_ledger_that_is_locked_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manager.runs.ledger.Ledger.open.__func__.__kwdefaults__", {"busy_timeout_s": 0.05})
    context = with_budgets(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        screen = await budgets_of(pilot)
        await press(pilot, "a", *"month", "space", "7")
        with sqlite3.connect(context.home.ledger_file, isolation_level=None) as db:
            db.execute("BEGIN IMMEDIATE")
            text = await press(pilot, "enter")
            assert "is locked by another process" in text
            assert screen.query_one("#edit", Input).value == "month 7"
            db.execute("ROLLBACK")
        await press(pilot, "enter")
        assert limits(context)["month"] == Decimal(7)


async def test_what_another_process_sets_is_seen(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        await budgets_of(pilot)
        set_budget(context, "project", "vision", Decimal(99))
        assert "project vision" in await press(pilot, "r")


def wording(app: TunefareApp) -> str:
    return str(app.screen.query_one(MoneyLine).render())


async def test_the_line_of_money_keeps_the_dollars_when_it_is_narrow(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    async with running(TunefareApp(context), (120, 40)) as pilot:
        app = app_of(pilot)
        full = "left $38.40 of $50.00 (Jan) · $3.60/h now, 1 run · $5.40 today · if left running: $86.40/day"
        assert wording(app) == full
        for width, told in (
            (80, "left $38.40 of $50.00 · $3.60/h now · $5.40 today · left running: $86.40/day"),
            (60, "left $38.40 of $50.00 · $3.60/h now · $5.40 today"),
            (40, "left $38.40 of $50.00 · $3.60/h now"),
            (26, "left $38.40 of $50.00"),
        ):
            await pilot.resize_terminal(width, 24)
            await settled(pilot)
            assert wording(app) == told


async def test_what_nobody_confirmed_comes_first_and_unknown_is_said(tmp_path: Path) -> None:
    context = with_budgets(tmp_path)
    with open_ledger(context) as ledger:
        launched(ledger, "gone-d4", cap="5", at_s=NOW_S - DAY_S, charged_s=HOUR_S)
        ended(ledger, "gone-d4", NOW_S - DAY_S + HOUR_S, state=RunState.UNCONFIRMED)
        launched(ledger, "dark-e5", cap="5", price=None, at_s=NOW_S - HOUR_S, charged_s=HOUR_S / 2)
    async with running(TunefareApp(context), (200, 50)) as pilot:
        money_line = pilot.app.screen.query_one(MoneyLine)
        assert wording(app_of(pilot)) == (
            "! 1 run NOT CONFIRMED as gone: gone-d4 · left at most $28.40 of $50.00 (Jan) · "
            "at least $7.20/h now (1 of 3 runs at an unknown price) · at least $5.40 today · "
            "if left running: at least $172.80/day"
        )
        assert money_line.has_class("-alarm")


async def test_the_line_of_money_tells_why_it_knows_nothing(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.ledger_file.write_text("no ledger")
    async with running(TunefareApp(context)) as pilot:
        assert "money unknown: the ledger" in wording(app_of(pilot))
        money_line = pilot.app.screen.query_one(MoneyLine)
        assert money_line.has_class("-problem")
        money_line.show(_money(tmp_path / "other"), "it is locked")
        assert wording(app_of(pilot)) == "NOT READ NOW, this is of before · no month budget · $0.00/h now · $0.00 today"


def _money(folder: Path) -> MoneyNow:
    folder.mkdir()
    return money_now(tui_context(folder))


@pytest.mark.parametrize(("spent", "committed", "drawn"), [
    ("0", "0", "··········"), ("0.01", "0", "█·········"), ("5", "2", "█████▒▒···"), ("9.99", "0", "█████████·"),
    ("10", "0", "██████████"), ("0.01", "0.01", "▒·········"), ("12", "5", "█████████▒"), ("0", "10", "▒▒▒▒▒▒▒▒▒▒"),
])  # fmt: skip
def test_a_bar_of_characters(spent: str, committed: str, drawn: str) -> None:
    assert bar(Decimal(spent), Decimal(committed), Decimal(10), 10) == drawn


def test_every_action_has_a_method_and_its_command() -> None:
    for action in actions_of("budgets"):
        assert callable(getattr(BudgetsScreen, f"action_{action.id.partition('.')[2]}"))
        assert action.command is not None or not action.is_shown


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_it_looks_as_it_did(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    app = TunefareApp(with_budgets(tmp_path, theme))
    async with running(app, size) as pilot:
        screen = await budgets_of(pilot)
        assert "news-a1" in str(screen.query_one("#details", Static).render())
        assert_snapshot(app, f"budgets-{size[0]}x{size[1]}-{theme}")
