"""What all screens share: number keys, the line of screens, errors over a screen, threads that are overtaken."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.message import Message

from manager.errors import DataError
from tests.support.tui_stage import running, settled, text_of, tui_context, until
from tui.actions import ACTIONS, actions_of
from tui.app import TunefareApp
from tui.screens.base import BaseScreen
from tui.screens.error import ErrorScreen
from tui.threads import Failed

SCREENS = ("plan", "run", "runs", "reports", "budgets", "prices", "settings")


class Answer(Message):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Listening(BaseScreen):
    SCOPE = "runs"

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[object] = []

    def on_answer(self, message: Answer) -> None:
        self.heard.append(message.number)

    def on_failed(self, message: Failed) -> None:
        self.heard.append(message.error.message)


@pytest.mark.parametrize(("number", "name"), list(enumerate(SCREENS, start=1)))
async def test_a_number_shows_its_screen_in_brackets(tmp_path: Path, number: int, name: str) -> None:
    async with running(TunefareApp(tui_context(tmp_path)), (80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, TunefareApp)
        app.set_focus(None)
        await pilot.press(str(number))
        await settled(pilot)
        assert isinstance(app.screen, BaseScreen)
        assert name == app.screen.SCOPE
        assert f"[{number} {name.capitalize()}]" in text_of(app).splitlines()[0]


async def test_an_error_stands_over_its_screen_with_its_hint(tmp_path: Path) -> None:
    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        app = pilot.app
        assert isinstance(app, TunefareApp)
        app.fail(DataError("the data is gone [/] $x", hint="look for it"))
        await settled(pilot)
        assert isinstance(app.screen, ErrorScreen)
        assert "the data is gone [/] $x" in text_of(app)
        assert "look for it" in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, ErrorScreen)


async def test_work_that_was_overtaken_is_not_heard(tmp_path: Path) -> None:
    may_end = threading.Event()

    def slow() -> Message:
        may_end.wait(30)
        return Answer(1)

    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        screen = Listening()
        pilot.app.push_screen(screen)
        await settled(pilot)
        screen.in_thread(slow, group="same")
        screen.in_thread(lambda: Answer(2), group="same")
        await until(pilot, lambda: 2 in screen.heard)
        may_end.set()
        await settled(pilot)
        assert screen.heard == [2]


async def test_work_that_fails_is_heard_with_its_sentence(tmp_path: Path) -> None:
    def foreseen() -> Message:
        raise DataError("no such file")

    def unforeseen() -> Message:
        raise ZeroDivisionError("by zero")

    async with running(TunefareApp(tui_context(tmp_path))) as pilot:
        screen = Listening()
        pilot.app.push_screen(screen)
        await settled(pilot)
        screen.in_thread(foreseen, group="one")
        await settled(pilot)
        screen.in_thread(unforeseen, group="two")
        await settled(pilot)
        assert screen.heard == ["no such file", "internal error: ZeroDivisionError: by zero"]


async def test_leaving_does_not_wait_for_work_that_hangs(tmp_path: Path) -> None:
    never = threading.Event()

    def hang() -> Message:
        never.wait(120)
        return Answer(1)

    async with TunefareApp(tui_context(tmp_path)).run_test() as pilot:
        screen = Listening()
        pilot.app.push_screen(screen)
        await pilot.pause()
        screen.in_thread(hang, group="provider")
        pilot.app.set_focus(None)
        await pilot.press("q")
    assert not pilot.app.is_running
    assert any(thread.name == "provider" and thread.daemon for thread in threading.enumerate())
    never.set()


def test_every_action_has_one_name_and_a_sentence() -> None:
    names = [action.id for action in ACTIONS]
    assert len(names) == len(set(names))
    for action in ACTIONS:
        assert action.text.endswith("."), action.id
        assert "alt+" not in action.key
        assert "super+" not in action.key


@pytest.mark.parametrize("scope", sorted({action.scope for action in ACTIONS}))
def test_no_key_means_two_things_in_one_place(scope: str) -> None:
    keys = [key for action in actions_of(scope) for key in action.key.split(",")]
    assert len(keys) == len(set(keys))
