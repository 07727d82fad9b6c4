"""The pane of offers: answers in order, lists, marks, compare, why, fixes, errors, and nothing that fits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from manager.errors import DataError
from manager.service.offer_words import compare_offers
from manager.service.replanning import PlanSession
from manager.spec.model import RunSpec
from tests.support.offers_stage import GatedSession, OffersApp, large_spec, offers_context, offers_spec, plan_only
from tests.support.tui_stage import assert_snapshot, running, settled, text_of, until
from tui.screens.error import ErrorScreen
from tui.screens.plan.compare_screen import CompareScreen
from tui.screens.plan.fixes_screen import FixesScreen
from tui.screens.plan.memory_bar import MemoryView
from tui.screens.plan.offer_rows import interval_bar
from tui.screens.plan.pareto import ParetoChart
from tui.screens.plan.why_screen import NotesScreen, WhyScreen
from tui.widgets.table import RowTable

D = Decimal


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_only(monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return offers_spec(tmp_path)


def app_in(folder: Path) -> OffersApp:
    return OffersApp(offers_context(folder))


def capped(spec: RunSpec, usd: str) -> RunSpec:
    return replace(spec, budget=replace(spec.budget, max_usd=D(usd)))


def state(app: OffersApp) -> str:
    return str(app.host.query_one("#offers-state", Static).render())


def told(app: OffersApp) -> str:
    widget = app.host.query_one("#offers-told", Static)
    return str(widget.render()) if widget.display else ""


async def planned(pilot: Pilot[None], app: OffersApp, spec: RunSpec) -> None:
    """The whole answer is there and the list has the focus."""
    app.pane.ask(spec)
    await until(pilot, lambda: app.pane.is_up_to_date)
    app.pane.view.table.rows.focus()
    await settled(pilot)


class TestAnswers:
    async def test_offers_stand_by_dollars_with_fit_time_and_interval(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            shown = app.pane.shown
            assert shown is not None
            assert shown.plan is not None
            assert shown.plan.plan_id
            costs = [one.cost_usd.expected for one in shown.offers if one.cost_usd is not None]
            assert costs == sorted(costs)
            assert len(costs) == len(shown.offers) == len(app.pane.view.table.shown_keys)
            text = text_of(app)
            assert "◆ A10, lambda us-west-1" in text
            assert "◆ chosen" in text
            assert "fits " in text
            assert "●" in text
            assert "rejected " in text
            assert "spot not allowed" in text
            assert state(app).startswith("from $")
            assert "re-planning" not in state(app)

    async def test_an_answer_that_was_overtaken_is_never_shown(self, tmp_path: Path, spec: RunSpec) -> None:
        context = offers_context(tmp_path)
        session = GatedSession(context)
        session.gates[D("3")] = Event()
        app = OffersApp(context, session)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            first = app.pane.shown
            app.pane.ask(capped(spec, "3"))
            await until(pilot, lambda: ("quick", D("3")) in session.asked)
            # While it is asked, the answer before stays with a sign.
            assert app.pane.shown is first
            assert state(app).startswith("re-planning ...")
            app.pane.ask(capped(spec, "5"))
            app.pane.ask(capped(spec, "6"))
            session.gates[D("3")].set()
            await until(pilot, lambda: app.pane.is_up_to_date)
            shown = app.pane.shown
            assert shown is not None
            assert shown.spec == capped(spec, "6")
            # What nobody wants any more is not planned whole, and what was typed over is not asked at all.
            assert ("whole", D("3")) not in session.asked
            assert ("quick", D("5")) not in session.asked

    async def test_marks_and_cursor_outlive_another_answer(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("j", "space")
            table = app.pane.view.table
            marked, cursor = table.marked, table.cursor_key
            assert len(marked) == 1
            await planned(pilot, app, capped(spec, "90"))
            assert table.marked == marked
            assert table.cursor_key == cursor
            assert [one.offer.key for one in app.pane.view.marked] == list(marked)

    async def test_an_error_is_told_and_the_answer_before_stays(self, tmp_path: Path, spec: RunSpec) -> None:
        context = offers_context(tmp_path)
        session = GatedSession(context)
        session.errors[D("3")] = DataError("the data cannot be read", hint="check data.source")
        app = OffersApp(context, session)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            rows = app.pane.view.table.shown_keys
            app.pane.ask(capped(spec, "3"))
            await until(pilot, lambda: bool(told(app)))
            assert told(app) == "error: the data cannot be read\nhint: check data.source"
            assert state(app).startswith("not planned; below is the answer before")
            assert app.pane.view.table.shown_keys == rows
            # Asking the same once more is a new try; another question clears the error.
            await planned(pilot, app, capped(spec, "4"))
            assert told(app) == ""
            assert session.asked.count(("quick", D("3"))) == 1

    async def test_what_rules_all_out_is_told(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, capped(spec, "0.001"))
            assert app.pane.view.table.shown_keys == ()
            assert told(app).startswith("nothing can be chosen: the cheapest offer that carries the job, lambda/")
            assert "hint: raise budget.max_usd" in told(app)
            assert "without budget.max_usd $0.0010 the cheapest is" in told(app)
            await pilot.press("ctrl+l")
            await settled(pilot)
            assert isinstance(app.screen, ErrorScreen)
            assert app.host.posted == []

    async def test_without_a_question_the_answer_before_stays_with_the_reason(
        self, tmp_path: Path, spec: RunSpec
    ) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            app.pane.withdraw("not planned: training.epochs is no number")
            await settled(pilot)
            assert state(app).startswith("not planned; below is the answer before · from $")
            assert "not planned: training.epochs is no number" in text_of(app)
            assert app.pane.view.table.shown_keys

    async def test_prices_are_read_again(self, tmp_path: Path, spec: RunSpec) -> None:
        context = offers_context(tmp_path)
        session = GatedSession(context)
        app = OffersApp(context, session)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            before = app.pane.shown
            app.pane.ask_again()
            await until(pilot, lambda: app.pane.shown is not before and app.pane.is_up_to_date)
            assert [kind for kind, _ in session.asked] == ["quick", "whole", "quick", "whole"]


class TestLists:
    async def test_rejected_ones_and_the_frontier(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            shown = app.pane.shown
            assert shown is not None
            assert shown.plan is not None
            await pilot.press("x")
            assert app.pane.view.current == "rejected"
            assert "why not" in text_of(app)
            assert len(app.pane.view.table.shown_keys) == len(shown.plan.rejected)
            await pilot.press("p")
            assert app.pane.view.current == "frontier"
            assert len(app.pane.view.table.shown_keys) == len(shown.plan.pareto)
            await pilot.press("p")
            assert app.pane.view.current == "offers"

    async def test_the_filter_finds_a_machine(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("slash", *"l40s", "enter")
            keys = app.pane.view.table.shown_keys
            assert keys
            assert all("L40S" in key for key in keys)

    async def test_the_chart_in_words_names_ends_and_marked_offers(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            words = app.host.query_one(ParetoChart).words
            assert words.startswith("cheapest $")
            assert "; fastest $" in words
            await pilot.press("space")
            await settled(pilot)
            assert app.host.query_one(ParetoChart).words.startswith(f"{words}; 1 $")


class TestOneOffer:
    async def test_why_of_the_choice_and_of_a_rejected_one(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app, (120, 50)) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("w")
            await settled(pilot)
            assert isinstance(app.screen, WhyScreen)
            assert app.screen.why.verdict == "can be chosen, and is the choice"
            assert "cost line" in text_of(app)
            await pilot.press("escape", "x", "enter")
            await settled(pilot)
            rejected = app.screen
            assert isinstance(rejected, WhyScreen)
            assert rejected.why.verdict.startswith("rejected: ")
            assert rejected.why.is_rejected
            await pilot.press("q")
            assert app.is_on_top

    async def test_of_a_spot_offer_it_tells_where_spot_stops_paying(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app, (120, 50)) as pilot:
            await planned(pilot, app, replace(spec, where=replace(spec.where, spot=True)))
            await pilot.press("w")
            await settled(pilot)
            assert "spot against on demand in us-east-1" in text_of(app)

    async def test_marked_offers_side_by_side(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("space", "j", "space", "v")
            screen = app.screen
            assert isinstance(screen, CompareScreen)
            every = screen.rows
            assert all(len(row.cells) == 2 for row in every)
            assert {row.sign for row in every} == {" ", "≠"}
            assert "≠ dollars to the finished job" in text_of(app)
            await pilot.press("d")
            assert screen.rows == tuple(row for row in every if row.differs)
            await pilot.press("escape")
            assert app.is_on_top

    async def test_rejected_offers_are_estimated_before_they_are_compared(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("x")
            keys = app.pane.view.table.shown_keys
            place = next(at for at, key in enumerate(keys) if "/spot" in key and "/T4:" not in key)
            await pilot.press(*["j"] * place, "space")
            (marked,) = app.pane.view.marked
            assert not marked.lines
            await pilot.press("v")
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, CompareScreen)
            found = PlanSession(app.context).find(spec, keys[place])
            assert found.lines
            assert app.pane.shown is not None
            assert app.pane.shown.choice is not None
            assert screen.rows == compare_offers([app.pane.shown.choice, found])

    async def test_one_offer_is_compared_with_the_choice(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("v")
            assert app.is_on_top
            await pilot.press("j", "v")
            assert isinstance(app.screen, CompareScreen)
            assert "can be chosen, and is the choice" not in text_of(app)

    async def test_notes(self, tmp_path: Path, spec: RunSpec) -> None:
        app = app_in(tmp_path)
        async with running(app) as pilot:
            await planned(pilot, app, spec)
            await pilot.press("n")
            assert isinstance(app.screen, NotesScreen)
            assert "Notes of this plan" in text_of(app)


class TestMemory:
    async def test_the_bar_follows_the_cursor(self, tmp_path: Path) -> None:
        app = app_in(tmp_path)
        async with running(app, (120, 50)) as pilot:
            await planned(pilot, app, large_spec(tmp_path))
            view = app.host.query_one(MemoryView)
            assert "fits with" in str(view.render())
            await pilot.press("x")
            await settled(pilot)
            text = str(view.render())
            assert "does not fit: " in text
            assert "tips it over" in text
            assert "│" in text
            assert "! " in text

    async def test_a_fix_goes_into_the_run_file(self, tmp_path: Path) -> None:
        app = app_in(tmp_path)
        async with running(app, (160, 50)) as pilot:
            await planned(pilot, app, large_spec(tmp_path))
            await pilot.press("f")
            assert app.is_on_top
            await pilot.press("x", "f")
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, FixesScreen)
            table = screen.query_one(RowTable)
            place = next(at for at, key in enumerate(table.shown_keys) if "adamw-8bit" in _fix_text(screen, key))
            assert "make it fit" in text_of(app)
            await pilot.press(*["j"] * place, "enter")
            await settled(pilot)
            assert app.is_on_top
            (chosen,) = app.host.posted
            assert chosen.changes == (("training.optimizer", "adamw-8bit"),)


def _fix_text(screen: FixesScreen, key: str) -> str:
    return screen.fixes[key].text


@pytest.mark.parametrize(
    ("low", "expected", "high", "bar"),
    [
        ("0", "5", "10", "├───●────┤"),
        ("2", "2", "4", " ●─┤      "),
        ("5", "9", "20", "    ├───●»"),
        ("11", "12", "13", "         »"),
    ],
)
def test_an_interval_is_drawn_on_one_scale(low: str, expected: str, high: str, bar: str) -> None:
    from manager.units import MoneyInterval

    cost = MoneyInterval(low=D(low), expected=D(expected), high=D(high))
    assert interval_bar(cost, D(10), 10) == bar


def test_the_pane_is_painted_without_the_planner() -> None:
    code = "import sys, tui.screens.plan.offers; print([name for name in sys.modules if name.startswith('manager.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout
    assert "manager.units" in loaded
    assert not [part for part in ("planner", "workload", "reports", "prices") if f"manager.{part}" in loaded]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_money_is_the_last_to_be_cut(tmp_path: Path, spec: RunSpec, size: tuple[int, int]) -> None:
    app = app_in(tmp_path)
    async with running(app, size) as pilot:
        await planned(pilot, app, spec)
        text = text_of(app)
        assert "$ total" in text
        assert "from $" in text
        assert ("$ low-high" in text) == (size[0] > 80)
        assert_snapshot(app, f"offers-{size[0]}x{size[1]}")


@pytest.mark.parametrize(
    ("name", "keys"),
    [("offers", ()), ("offers-why", ("w",)), ("offers-compare", ("space", "j", "space", "v"))],
)
async def test_on_a_light_ground(tmp_path: Path, spec: RunSpec, name: str, keys: tuple[str, ...]) -> None:
    app = OffersApp(offers_context(tmp_path, theme="light"))
    async with running(app) as pilot:
        await planned(pilot, app, spec)
        await pilot.press(*keys)
        await settled(pilot)
        assert_snapshot(app, f"{name}-120x40-light")
