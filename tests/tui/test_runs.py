"""The screen Runs: what it says of runs, what stands on top, and that a lost ledger is a sentence."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from manager.runs.charges import charge
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.run_list import run_summaries
from tests.support.ledger_runs import keep_runs
from tests.support.report_factory import make_run
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context
from tui.app import TunefareApp
from tui.screens import runs as runs_screen
from tui.screens.report_rows import choice_row
from tui.screens.run_compare import RunCompareDialog
from tui.screens.run_rows import run_row
from tui.screens.runs import RunsScreen
from tui.widgets.table import RowTable

FIVE = {
    "bbc-1": RunState.SUCCEEDED,
    "bbc-2": RunState.FAILED,
    "bbc-3": RunState.UNCONFIRMED,
    "bbc-4": RunState.STOPPED,
    "bbc-5": RunState.RUNNING,
}
BY_AGE = ("bbc-5", "bbc-3", "bbc-4", "bbc-2", "bbc-1")


def keep(context: Context, states: dict[str, RunState]) -> None:
    """Runs of these names, each a day newer than the one before."""
    for age, (run_id, state) in enumerate(states.items()):
        run = make_run(run_id=run_id, state=state, final=0.9 + age / 100)
        keep_runs(context, replace(run, record=replace(run.record, created_at_s=1_789_000_000.0 + 86_400 * age)))


@asynccontextmanager
async def shown(context: Context, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    """The screen, read."""
    async with running(TunefareApp(context), size) as pilot:
        app_of(pilot).set_focus(None)
        await pilot.press("3")
        await settled(pilot)
        yield pilot


def app_of(pilot: Pilot[Any]) -> TunefareApp:
    assert isinstance(pilot.app, TunefareApp)
    return pilot.app


def screen_of(pilot: Pilot[Any]) -> RunsScreen:
    assert isinstance(pilot.app.screen, RunsScreen)
    return pilot.app.screen


def table_of(pilot: Pilot[Any]) -> RowTable:
    return screen_of(pilot).query_one("#runs", RowTable)


def told(pilot: Pilot[Any], line: str) -> str:
    """What a line above the table says; nothing where it is not shown."""
    widget = screen_of(pilot).query_one(line, Static)
    return str(widget.render()) if widget.display else ""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    found = tui_context(tmp_path)
    keep(found, FIVE)
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_pictures(tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    context = tui_context(tmp_path, theme=theme)
    keep(context, FIVE)
    async with shown(context, size) as pilot:
        assert_snapshot(app_of(pilot), f"runs-{size[0]}-{theme}")


async def test_what_may_be_billed_stands_on_top_in_words(context: Context) -> None:
    async with shown(context, (80, 24)) as pilot:
        assert table_of(pilot).shown_keys == BY_AGE
        lines = text_of(app_of(pilot)).splitlines()
        billing = [line for line in lines if "BILLING" in line]
        assert [line.split()[0] for line in billing] == ["$0.11", "$0.18"]
        assert "! BILLING running, not supervised" in billing[0]
        assert "! BILLING? UNCONFIRMED" in billing[1]
        assert told(pilot, "#billing") == (
            "2 runs may still be billed: $1.61/h, 2 without a client (tunefare reconcile) - press ! to end all"
        )


@pytest.mark.parametrize("width", [60, 72, 80])
async def test_dollars_are_the_last_to_be_cut(context: Context, width: int) -> None:
    async with shown(context, (width, 24)) as pilot:
        lines = text_of(app_of(pilot)).splitlines()
        assert sum("$0.18" in line for line in lines) == 4
        assert sum("BILLING" in line for line in lines) == 2


async def test_what_is_billed_stays_on_top_however_rows_are_sorted(context: Context) -> None:
    async with shown(context) as pilot:
        for _ in range(6):
            await pilot.press("s")
            await settled(pilot)
            assert set(table_of(pilot).shown_keys[:2]) == {"bbc-3", "bbc-5"}


def test_sorted_by_metric_the_best_of_each_comes_first(context: Context) -> None:
    one = run_summaries(context)[0]
    worse, better = (replace(one, metric="perplexity", metric_after=value) for value in (3.0, 2.0))
    low, high = (replace(one, metric="accuracy", metric_after=value) for value in (0.8, 0.9))
    for row, column in ((run_row, 4), (choice_row, 2)):
        found = {row(run).sort[column]: run for run in (worse, low, better, high)}
        assert [found[place] for place in sorted(found)] == [high, low, better, worse]


async def test_no_run_yet_says_what_to_do(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    async with shown(context, (80, 24)) as pilot:
        assert "no run yet: plan one" in text_of(app_of(pilot))
        assert (told(pilot, "#billing"), told(pilot, "#trouble")) == ("", "")
        assert not context.home.ledger_file.exists()
        keep(context, {"first": RunState.SUCCEEDED})
        await pilot.press("u")
        await settled(pilot)
        assert table_of(pilot).shown_keys == ("first",)


@pytest.mark.parametrize(("run_id", "mode"), [("bbc-5", "run"), ("bbc-3", "run"), ("bbc-4", "reports")])
async def test_enter_opens_the_run(context: Context, run_id: str, mode: str) -> None:
    async with shown(context) as pilot:
        await pilot.press(*["j"] * BY_AGE.index(run_id), "enter")
        await settled(pilot)
        app = app_of(pilot)
        assert app.current_mode == mode
        assert (app.open_run_id == run_id) if mode == "run" else (app.report_run_ids == (run_id,))


async def test_marked_runs_are_reported_on_together(context: Context) -> None:
    async with shown(context) as pilot:
        await pilot.press("G", "space", "k", "k", "space", "r")
        await settled(pilot)
        assert app_of(pilot).current_mode == "reports"
        assert app_of(pilot).report_run_ids == ("bbc-1", "bbc-4")


async def test_without_marks_the_run_under_the_cursor_is_reported_on(context: Context) -> None:
    async with shown(context) as pilot:
        await pilot.press("G", "r")
        await settled(pilot)
        assert app_of(pilot).report_run_ids == ("bbc-1",)


async def test_words_filter(context: Context) -> None:
    async with shown(context) as pilot:
        await pilot.press("slash", *"succ", "enter")
        await settled(pilot)
        assert table_of(pilot).shown_keys == ("bbc-1",)
        await pilot.press("escape")
        await settled(pilot)
        assert len(table_of(pilot).shown_keys) == 5


async def test_comparing_needs_two_marks(context: Context) -> None:
    async with shown(context) as pilot:
        await pilot.press("space", "v")
        await settled(pilot)
        assert isinstance(pilot.app.screen, RunsScreen)
        assert ["Mark two runs" in note.message for note in pilot.app._notifications] == [True]


@pytest.mark.parametrize("size", SIZES)
async def test_marked_runs_stand_side_by_side(context: Context, size: tuple[int, int]) -> None:
    async with shown(context, size) as pilot:
        await pilot.press("G", "space", "k", "space", "v")
        await settled(pilot)
        assert isinstance(pilot.app.screen, RunCompareDialog)
        text = text_of(app_of(pilot))
        assert "2 runs: " in text
        assert "≠  state" in text
        assert "90.00%" in text
        assert "91.00%" in text
        assert "batch" not in text
        assert_snapshot(app_of(pilot), f"runs-compare-{size[0]}")
        await pilot.press("d")
        await settled(pilot)
        assert "all properties" in text_of(app_of(pilot))
        await pilot.press("escape")
        await settled(pilot)
        assert table_of(pilot).marked == ("bbc-1", "bbc-2")


async def test_from_side_by_side_to_the_reports(context: Context) -> None:
    async with shown(context) as pilot:
        await pilot.press("G", "space", "k", "space", "v")
        await settled(pilot)
        await pilot.press("r")
        await settled(pilot)
        assert app_of(pilot).current_mode == "reports"
        assert app_of(pilot).report_run_ids == ("bbc-1", "bbc-2")


async def test_what_is_written_meanwhile_is_shown_in_its_row(context: Context) -> None:
    async with shown(context) as pilot:
        await pilot.press("j", "space")
        with open_ledger(context) as ledger:
            last = ledger.run("bbc-5").charges[-1]
            later = charge(
                from_s=last.to_s, to_s=last.to_s + 3600, price_usd_per_hour=last.price_usd_per_hour, at_s=last.to_s
            )
            ledger.add_charge("bbc-5", later)
        await pilot.press("u")
        await settled(pilot)
        assert "$0.92  ! BILLING running" in text_of(app_of(pilot))
        assert table_of(pilot).marked == ("bbc-3",)
        assert table_of(pilot).cursor_key == "bbc-4"


async def test_a_ledger_that_is_gone_leaves_what_was_read(context: Context) -> None:
    async with shown(context) as pilot:
        aside = context.home.root / "aside"
        shutil.move(context.home.ledger_file, aside)
        await pilot.press("u")
        await settled(pilot)
        assert "is gone" in told(pilot, "#trouble")
        assert "hint: Put it back" in told(pilot, "#trouble")
        read_at = datetime.fromtimestamp(context.clock(), UTC).strftime("%H:%M:%S")
        assert f"Below: as of {read_at} UTC." in told(pilot, "#trouble")
        assert not context.home.ledger_file.exists()
        assert table_of(pilot).shown_keys == BY_AGE
        shutil.move(aside, context.home.ledger_file)
        await pilot.press("u")
        await settled(pilot)
        assert told(pilot, "#trouble") == ""


async def test_a_damaged_ledger_is_a_sentence_and_stays_as_it_is(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.ledger_file.write_bytes(b"no ledger" * 900)
    async with shown(context, (80, 24)) as pilot:
        assert "is damaged" in told(pilot, "#trouble")
        assert "recover" in text_of(app_of(pilot)).replace("\n", " ")
        assert isinstance(pilot.app.screen, RunsScreen)
    assert context.home.ledger_file.read_bytes() == b"no ledger" * 900


async def test_a_locked_ledger_is_read_when_the_lock_goes(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_screen, "_PATIENCE_S", 0.05)
    lock = sqlite3.connect(context.home.ledger_file, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    async with shown(context, (80, 24)) as pilot:
        assert "locked by another process" in told(pilot, "#trouble")
        assert table_of(pilot).shown_keys == ()
        lock.execute("ROLLBACK")
        lock.close()
        screen_of(pilot)._look()
        await settled(pilot)
        assert told(pilot, "#trouble") == ""
        assert table_of(pilot).shown_keys == BY_AGE


async def test_nothing_is_read_while_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = tui_context(tmp_path)
    keep(context, {"done": RunState.SUCCEEDED})
    async with shown(context) as pilot:
        reads: list[object] = []
        monkeypatch.setattr(screen_of(pilot), "read", lambda: reads.append(1))
        screen_of(pilot)._look()
        assert reads == []
        keep(context, {"new": RunState.FAILED})
        screen_of(pilot)._look()
        assert reads == [1]
