"""The screen Reports: choosing runs, the comparison, the waterfall, files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.inspection import open_ledger
from tests.support.fonts import needs_font
from tests.support.ledger_runs import keep_runs
from tests.support.report_factory import make_run, make_spec
from tests.support.tui_stage import (
    SIZES,
    app_of,
    assert_snapshot,
    press,
    running,
    settled,
    shown,
    tui_context,
    until,
)
from tui.app import TunefareApp
from tui.screens.error import ErrorScreen
from tui.screens.export_dialog import ExportDialog
from tui.screens.reports import ReportsScreen
from tui.widgets.table import RowTable

ALL = ("cheap", "middle", "dear", "best", "untested")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Five ended runs: three on the frontier, one beaten, one that was never tested."""
    found = tui_context(tmp_path)
    keep_runs(
        found,
        make_run(run_id="cheap", price="0.8", final=0.93),
        make_run(run_id="middle", price="2", final=0.955),
        make_run(run_id="dear", price="4", final=0.95),
        make_run(run_id="best", price="6.2", final=0.971),
        make_run(run_id="untested", events=()),
    )
    return found


async def reports_of(pilot: Pilot[None], *runs: str) -> ReportsScreen:
    """The screen with the reports of these runs."""
    app = app_of(pilot)
    await app.open_reports(runs)
    await settled(pilot)
    assert isinstance(app.screen, ReportsScreen)
    return app.screen


async def test_runs_are_marked_in_the_list_and_compared(context: Context) -> None:
    async with running(TunefareApp(context)) as pilot:
        pilot.app.set_focus(None)
        await press(pilot, "4")
        assert "Space marks runs, Enter shows their reports." in shown(pilot)
        await press(pilot, "slash", *"e", "enter")
        assert pilot.app.screen.query_one("#runs", RowTable).shown_keys
        await press(pilot, "escape", "space", "space", "space", "space", "space", "enter")
        rows = pilot.app.screen.query_one("#points", RowTable)
        assert rows.shown_keys == ALL
        told = shown(pilot)
        assert "by Accuracy; 3 on the frontier, 1 apart" in told
        assert "beaten by B" in told
        assert "no final accuracy" in told


async def test_enter_without_marks_shows_the_run_under_the_cursor(context: Context) -> None:
    async with running(TunefareApp(context)) as pilot:
        pilot.app.set_focus(None)
        await press(pilot, "4", "enter")
        assert len(pilot.app.screen.query_one("#points", RowTable).shown_keys) == 1


async def test_runs_that_go_on_are_not_offered(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    async with running(TunefareApp(context)) as pilot:
        pilot.app.set_focus(None)
        await press(pilot, "4")
        assert "no run has ended yet" in shown(pilot)
        await press(pilot, "enter", "c", "w", "e")
        assert isinstance(pilot.app.screen, ReportsScreen)


async def test_another_metric_changes_table_and_chart(context: Context) -> None:
    async with running(TunefareApp(context)) as pilot:
        await reports_of(pilot, *ALL)
        assert "19.1% → 95.5%" in shown(pilot)
        await press(pilot, "c")
        told = shown(pilot)
        assert "Macro precision over dollars" in told
        assert "18.9% → 95.3%" in told
        await press(pilot, "c", "c", "c", "c", "c")
        assert "Accuracy over dollars" in shown(pilot)


async def test_the_waterfall_follows_the_cursor(context: Context) -> None:
    async with running(TunefareApp(context), (200, 50)) as pilot:
        await reports_of(pilot, *ALL)
        told = shown(pilot)
        assert "cheap: estimate → bill" in told
        assert "$0.1968" in told
        assert "Stopping at step 112 would have cost" in told
        await press(pilot, "j")
        assert "middle: estimate → bill" in shown(pilot)
        await press(pilot, "G")
        told = shown(pilot)
        assert "untested: estimate → bill" in told
        assert "Apart from the others: no final accuracy." in told


async def test_a_narrow_terminal_shows_one_picture_at_a_time(context: Context) -> None:
    async with running(TunefareApp(context), (80, 24)) as pilot:
        await reports_of(pilot, *ALL)
        assert "Provisioning" not in shown(pilot)
        await press(pilot, "enter")
        told = shown(pilot)
        assert "Provisioning" in told
        assert "over dollars" not in told
        await press(pilot, "escape")
        assert "over dollars" in shown(pilot)
        await press(pilot, "escape")
        assert "Space marks runs" in shown(pilot)


async def test_dollars_that_differ_widely_stand_on_a_logarithmic_axis(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    keep_runs(
        context,
        make_run(run_id="penny", price="0.05", final=0.90),
        make_run(run_id="dime", price="0.5", final=0.93),
        make_run(run_id="dollar", price="5", final=0.95),
    )
    async with running(TunefareApp(context)) as pilot:
        await reports_of(pilot, "penny", "dime", "dollar")
        await until(pilot, lambda: "┏" in shown(pilot))
        told = shown(pilot)
        assert "(logarithmic)" in told
        rows = [line[:50] for line in told.splitlines() if "┃" in line[:12] or "┫" in line[:12]]
        columns = {letter: row.index(letter) for letter in "ABC" for row in rows if letter in row}
        assert abs((columns["B"] - columns["A"]) - (columns["C"] - columns["B"])) <= 2


async def test_the_narrowest_terminal_keeps_the_figures_and_loses_the_bars(context: Context) -> None:
    async with running(TunefareApp(context), (60, 40)) as pilot:
        await reports_of(pilot, "cheap")
        await press(pilot, "w")
        lines = shown(pilot).splitlines()
        (training,) = (line for line in lines if "Training steps" in line)
        assert training.strip("│ ").split()[-3:] == ["$0.0640", "$0.0574", "\N{MINUS SIGN}$0.0066"]
        assert "░" not in shown(pilot)


async def test_a_run_that_goes_on_is_read_again_when_the_screen_comes_back(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    going = make_run(run_id="going", state=RunState.RUNNING)
    keep_runs(context, going)
    async with running(TunefareApp(context)) as pilot:
        await reports_of(pilot, "going")
        assert "still billed" in shown(pilot)
        ended = make_run(run_id="going")
        with open_ledger(context) as ledger:
            for change in ended.record.history[-2:]:
                ledger.transition("going", change.state, change.at_s, change.detail)
        pilot.app.set_focus(None)
        await press(pilot, "6", "4")
        assert "still billed" not in shown(pilot)


async def test_an_unknown_price_is_no_bar_and_no_zero(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    keep_runs(context, make_run(run_id="dark", price=None))
    async with running(TunefareApp(context), (200, 50)) as pilot:
        await reports_of(pilot, "dark")
        told = shown(pilot)
        assert "no run can be compared" in told
        assert "no cost" in told
        assert "$0" not in told.split("dark: estimate")[1].split("Accuracy")[0]


async def test_names_from_strangers_are_only_text(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    name = "[red]x[/] $y"
    keep_runs(context, make_run(run_id=name, spec=make_spec(model="[bold]m")))
    async with running(TunefareApp(context), (200, 50)) as pilot:
        await reports_of(pilot, name)
        told = shown(pilot)
        assert name in told
        assert "[bold]m" in told
        assert f"{name}: estimate → bill" in told


async def test_a_run_that_there_is_not_is_said(context: Context) -> None:
    async with running(TunefareApp(context)) as pilot:
        await reports_of(pilot, "nobody")
        assert "error: no run is called 'nobody'" in shown(pilot)


async def test_a_ledger_that_cannot_be_read_is_said(context: Context) -> None:
    context.home.ledger_file.write_bytes(b"nonsense" * 1000)
    async with running(TunefareApp(context)) as pilot:
        pilot.app.set_focus(None)
        await press(pilot, "4")
        assert isinstance(pilot.app.screen, ErrorScreen)


async def _dialog(pilot: Pilot[None], folder: Path, monkeypatch: pytest.MonkeyPatch) -> ExportDialog:
    monkeypatch.chdir(folder)
    await reports_of(pilot, *ALL)
    await press(pilot, "e")
    dialog = pilot.app.screen
    assert isinstance(dialog, ExportDialog)
    return dialog


FORMATS = ("html", "csv", "json", pytest.param("png", marks=needs_font), "svg")


@pytest.mark.parametrize("kind", FORMATS)
async def test_each_format_is_written_by_keys_alone(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    number = ("html", "csv", "json", "png", "svg").index(kind)
    async with running(TunefareApp(context)) as pilot:
        dialog = await _dialog(pilot, tmp_path, monkeypatch)
        await press(pilot, *["down"] * number)
        assert dialog.query_one("#file", Input).value == f"report.{kind}"
        await press(pilot, "enter")
        assert (tmp_path / f"report.{kind}").stat().st_size > 500
        assert "written: " in shown(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, ReportsScreen)


async def test_the_metric_of_the_screen_is_exported(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(TunefareApp(context)) as pilot:
        monkeypatch.chdir(tmp_path)
        await reports_of(pilot, *ALL)
        await press(pilot, "c", "e", "down", "down", "enter")
        content = json.loads((tmp_path / "report.json").read_text())
        assert content["cost_accuracy"]["metric"] == "precision_macro"


async def test_writing_over_a_file_is_asked(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("mine")
    async with running(TunefareApp(context)) as pilot:
        dialog = await _dialog(pilot, tmp_path, monkeypatch)
        dialog.query_one("#formats", OptionList).highlighted = 1
        await settled(pilot)  # A format names the file: what is typed comes after it.
        dialog.query_one("#file", Input).value = "mine.csv"
        await press(pilot, "enter")
        assert file.read_text() == "mine"
        # Not from the screen: where the folder's name is long, the sentence is broken between its words.
        assert "exists already" in str(dialog.query_one("#export-told", Static).render())
        await press(pilot, "enter")
        assert file.read_text().startswith("run_id,")


async def test_another_name_asks_anew(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.html", "b.html"):
        (tmp_path / name).write_text("mine")
    async with running(TunefareApp(context)) as pilot:
        dialog = await _dialog(pilot, tmp_path, monkeypatch)
        for name in ("a.html", "b.html"):
            dialog.query_one("#file", Input).value = name
            await press(pilot, "enter")
        assert [(tmp_path / name).read_text() for name in ("a.html", "b.html")] == ["mine", "mine"]


async def test_errors_of_an_export_stand_in_the_dialog(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    (tmp_path / "file").write_text("x")
    async with running(TunefareApp(context)) as pilot:
        dialog = await _dialog(pilot, tmp_path, monkeypatch)
        await press(pilot, "down", "down", "down", "enter")
        assert "tunefare[png]" in shown(pilot)
        dialog.query_one("#file", Input).value = "file/report.html"
        await press(pilot, "up", "enter")
        assert "hint: name a place you can write to" in shown(pilot)
        dialog.query_one("#file", Input).value = " "
        await press(pilot, "enter")
        assert "the file needs a name" in shown(pilot)
        assert isinstance(pilot.app.screen, ExportDialog)


@pytest.mark.parametrize("theme", ["tunefare-dark", "tunefare-light"])
@pytest.mark.parametrize("size", SIZES)
async def test_snapshot(context: Context, size: tuple[int, int], theme: str) -> None:
    async with running(TunefareApp(context), size) as pilot:
        pilot.app.theme = theme
        screen = await reports_of(pilot, *ALL)
        await settled(pilot)
        assert screen.is_current
        assert_snapshot(app_of(pilot), f"reports-{size[0]}x{size[1]}-{theme.removeprefix('tunefare-')}")
