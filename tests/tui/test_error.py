"""Errors over a screen: what, what to do, what was kept; a defect's details lie in a file, never on the screen."""

from __future__ import annotations

import stat
from pathlib import Path

from textual.widgets import Static

from manager.errors import StateError, TunefareError
from manager.service.failures import internal_error, keep_details
from tests.support.tui_stage import running, settled, text_of, tui_context
from tui.app import TunefareApp
from tui.screens.error import ErrorScreen


def defect() -> TunefareError:
    try:
        raise ZeroDivisionError("nobody thought of it")
    except ZeroDivisionError as error:
        return internal_error(error)


async def test_an_error_tells_what_to_do_and_what_was_kept(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app, (80, 24)) as pilot:
        app.fail(StateError("the ledger is locked by another process", hint="end it: tunefare runs"))
        await settled(pilot)
        shown = text_of(app)
        assert "error: the ledger is locked by another process" in shown
        assert "hint: end it: tunefare runs" in shown
        assert "what you typed is kept" in shown
        assert "try again" not in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, ErrorScreen)


async def test_what_can_be_tried_again_is_tried_again(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    tried: list[int] = []
    async with running(app) as pilot:
        app.fail(StateError("no"), retry=lambda: tried.append(1))
        await settled(pilot)
        assert "try again" in text_of(app)
        await pilot.press("r")
        await settled(pilot)
        assert tried == [1]
        assert not isinstance(app.screen, ErrorScreen)


async def test_a_defects_traceback_lies_in_a_file_that_is_named(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    app = TunefareApp(context)
    async with running(app, (200, 50)) as pilot:
        app.fail(defect())
        await settled(pilot)
        (file,) = context.home.failures_dir.glob("*.txt")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "ZeroDivisionError: nobody thought of it" in file.read_text()
        assert "test_error.py" in file.read_text()
        shown = text_of(app)
        assert "Traceback" not in shown
        # A long path is folded within the frame.
        told = [str(line.render()) for line in app.screen.query(Static)]
        assert f"details: {file}" in told


async def test_the_details_can_be_copied(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        app.fail(StateError("no room", hint="make some"))
        await settled(pilot)
        await pilot.press("c")
        await settled(pilot)
        assert "error: no room" in app.clipboard
        assert "hint: make some" in app.clipboard


def test_old_details_make_room(tmp_path: Path) -> None:
    times = iter(range(1_790_000_000, 1_790_000_100))
    context = tui_context(tmp_path, clock=lambda: next(times))
    files = [keep_details(context, defect()) for _ in range(30)]
    left = sorted(context.home.failures_dir.glob("*.txt"))
    assert len(left) == 20
    assert left[-1] == files[-1]


def test_a_state_folder_that_takes_no_file_is_no_second_error(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.failures_dir.write_text("a file in the way")
    assert keep_details(context, defect()) is None
