"""The terminal: sizes in a storm, Ctrl-C, signals, a window that is closed, NO_COLOR; it is always given back."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.events import Resize
from textual.geometry import Size

from manager.service import doctor
from manager.service.context import Context
from manager.service.doctor import Check
from tests.support.pty_stage import (
    ALTERNATE_OFF,
    ALTERNATE_ON,
    CURSOR_ON,
    FOCUS_OFF,
    MOUSE_OFF,
    PASTE_OFF,
    Terminal,
)
from tests.support.tui_stage import running, settled, text_of, tui_context
from tui.app import TunefareApp
from tui.screens.settings import SettingsScreen

_TITLE_OF_PICTURES = "c5c8c6"
"""Stands in the frame of an exported picture, not on the screen."""


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of the screen Settings ask SkyPilot, which takes seconds."""

    def examine(context: Context) -> list[Check]:
        return [Check(name="tunefare", state="ok", detail="9.9.9")]

    monkeypatch.setattr(doctor, "examine", examine)


@pytest.mark.parametrize("mode", ["1", "3", "7"])
async def test_a_storm_of_sizes_ends_in_the_right_layout(tmp_path: Path, mode: str) -> None:
    random.seed(int(mode))
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press(mode)
        await settled(pilot)
        calm = text_of(app)
        for number in range(200):
            # As a dragged window: the next size comes before the last one is drawn, now and then there is a rest.
            size = Size(random.randint(20, 250), random.randint(5, 70))
            app.post_message(Resize(size, size))
            if number % 20 == 0:
                await pilot.pause()
        await pilot.resize_terminal(120, 40)
        await settled(pilot)
        assert text_of(app) == calm


async def test_a_terminal_that_is_too_small_is_told_in_words(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app, (40, 8)) as pilot:
        await settled(pilot)
        assert "40 x 8 is too small" in " ".join(text_of(app).split())
        assert "80 x 24" in text_of(app)
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert "too small" not in text_of(app)
        assert "1 Plan" in text_of(app)


async def test_the_first_ctrl_c_says_how_to_leave_and_the_second_leaves(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press("ctrl+c")
        await settled(pilot)
        assert app.is_running
        (told,) = app._notifications
        assert told.message == "Ctrl-C again, or q, leaves; runs go on."
        await pilot.press("ctrl+c")
    assert app._exit
    assert app.return_code == 0


async def test_ctrl_c_is_heard_in_a_dialog_and_copies_what_is_selected(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press("7")
        await settled(pilot)
        assert isinstance(app.screen, SettingsScreen)
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("ctrl+c")
        assert app.clipboard == "0.10"
        assert not app._notifications
        await pilot.press("escape", "question_mark")
        await settled(pilot)
        await pilot.press("ctrl+c")
        assert [told.message for told in app._notifications] == ["Ctrl-C again, or q, leaves; runs go on."]


async def test_without_colour_all_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {}
    for colour in ("", "1"):
        with monkeypatch.context() as patched:
            patched.delenv("NO_COLOR", raising=False)
            if colour:
                patched.setenv("NO_COLOR", colour)
            (tmp_path / colour).mkdir(exist_ok=True)
            app = TunefareApp(tui_context(tmp_path))
            async with running(app) as pilot:
                await pilot.press("5")
                await settled(pilot)
                texts[colour] = text_of(app)
                svg = app.export_screenshot()
        if colour:
            used = set(re.findall(r"fill: #([0-9a-f]{6})", svg)) - {_TITLE_OF_PICTURES}
            assert {shade for shade in used if len({shade[:2], shade[2:4], shade[4:]}) > 1} == set()
    assert texts[""] == texts["1"]
    assert "[5 Budgets]" in texts["1"]


def write_file(folder: Path) -> Path:
    file = folder / "mine.yaml"
    file.write_text("schema: 1\nname: before\nmodel: no/such-model\ndata: none.csv\n")
    return file


def start(folder: Path, **environment: str) -> Terminal:
    """The application with a run file, in a terminal of its own."""
    own = {
        "TUNEFARE_HOME": str(folder / "home"),
        "TUNEFARE_THEME": "dark",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TERM": "xterm-256color",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return Terminal("tui", str(write_file(folder)), folder=folder, environment={**own, **environment})


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    started = start(tmp_path)
    yield started
    started.close()


def drafts(folder: Path) -> str:
    """All drafts that were kept."""
    return "".join(file.read_text() for file in sorted((folder / "home" / "drafts").glob("*.json")))


_FOCUSED = rb"no/such-model\x1b\[0m\x1b\[[0-9;]*m \x1b\[0m"


def type_a_name(terminal: Terminal, folder: Path) -> None:
    """Change the run file without saving it."""
    terminal.read_until(lambda out: ALTERNATE_ON in out and b"before" in out, what="the form")
    # The form tells what is wrong with the file once it has read it.
    terminal.read_until(lambda out: b"no/such-model" in out, what="the fields")
    terminal.type(b"e")
    # A cursor of one cell stands behind the text of the field that has the focus.
    terminal.read_until(lambda out: re.search(_FOCUSED, out) is not None, what="the focus")
    terminal.type(b"changed")
    terminal.read_until(lambda _: "changed" in drafts(folder), what="the draft", timeout_s=20)


def assert_restored(terminal: Terminal) -> None:
    """What a shell finds after us."""
    last = terminal.output
    assert last.rfind(ALTERNATE_OFF) > last.rfind(ALTERNATE_ON) >= 0
    for off in (CURSOR_ON, PASTE_OFF, MOUSE_OFF, FOCUS_OFF):
        assert off in last
    assert terminal.modes == terminal.modes_before
    assert b"Traceback" not in last


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_signal_ends_it_in_good_order_and_the_draft_is_kept(
    terminal: Terminal, tmp_path: Path, number: signal.Signals
) -> None:
    type_a_name(terminal, tmp_path)
    os.kill(terminal.pid, number)
    assert terminal.wait() == 130
    assert_restored(terminal)
    assert "changed" in drafts(tmp_path)
    assert "name: before" in (tmp_path / "mine.yaml").read_text()


def test_a_window_that_is_closed_leaves_no_process_and_keeps_the_draft(terminal: Terminal, tmp_path: Path) -> None:
    type_a_name(terminal, tmp_path)
    terminal.hang_up()
    terminal.wait_unread()
    assert "changed" in drafts(tmp_path)


def test_leaving_by_key_gives_the_terminal_back(terminal: Terminal, tmp_path: Path) -> None:
    terminal.read_until(lambda out: b"before" in out, what="the form")
    terminal.type(b"q")
    assert terminal.wait() == 0
    assert_restored(terminal)


def test_the_terminal_is_asked_for_its_background_and_its_answer_is_no_key(tmp_path: Path) -> None:
    started = Terminal(
        "tui",
        folder=tmp_path,
        environment={
            "TUNEFARE_HOME": str(tmp_path / "home"),
            "TUNEFARE_THEME": "auto",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        },
    )
    try:
        started.read_until(lambda out: b"\x1b]11;?" in out and b"\x1b[c" in out, what="the question")
        assert ALTERNATE_ON not in started.output
        started.type(b"\x1b]11;rgb:ffff/ffff/f0f0\x1b\\\x1b[?62c")
        # The background of the light theme, #fbfbf9.
        started.read_until(lambda out: b"48;2;251;251;249" in out, what="the light theme")
        started.type(b"\x1b")
        started.type(b"\x03\x03")
        assert started.wait() == 0, started.output[-3000:]
        assert_restored(started)
    finally:
        started.close()


def test_the_terminal_knows_its_size_better_than_a_shell_that_exported_it(tmp_path: Path) -> None:
    started = start(tmp_path, COLUMNS="30", LINES="7")
    try:
        started.read_until(lambda out: b"before" in out, what="the form")
        assert b"too small" not in started.output
    finally:
        started.close()
