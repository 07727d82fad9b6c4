"""The run form on a screen of its own, without offers, and what it tells its screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual import on
from textual.app import ComposeResult
from textual.pilot import Pilot

from manager.service.context import Context
from manager.spec.model import RunSpec
from tests.support.cli import write_news
from tests.support.tui_stage import running, settled, until
from tui.actions import bindings
from tui.app import TunefareApp
from tui.screens.plan.field import FormField
from tui.screens.plan.fields import FIELDS
from tui.screens.plan.form import RunForm
from tui.screens.plan.form_actions import FormActions

MODEL = "google-bert/bert-base-uncased"
_STYLES = Path(__file__).parents[2] / "tui" / "styles"


class FormScreen(FormActions):
    """The form alone."""

    SCOPE: ClassVar[str] = "plan"
    BINDINGS = bindings("plan")
    CSS_PATH: ClassVar = [str(_STYLES / "form.tcss")]
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[RunSpec] = []
        self.wrongs: list[dict[str, str]] = []

    def compose_body(self) -> ComposeResult:
        """The form."""
        yield RunForm()

    @on(RunForm.SpecChanged)
    def _changed(self, event: RunForm.SpecChanged) -> None:
        self.specs.append(event.spec)

    @on(RunForm.SpecInvalid)
    def _invalid(self, event: RunForm.SpecInvalid) -> None:
        self.wrongs.append(event.problems)


class FormUser:
    """What a user does with the form."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot
        screen = pilot.app.screen
        assert isinstance(screen, FormScreen)
        self.screen = screen

    @property
    def form(self) -> RunForm:
        """The form."""
        return self.screen.form

    def field(self, key: str) -> FormField:
        """The field of a dotted key."""
        return self.screen.query_one(f"#{FIELDS[key].id}", FormField)

    def told(self, key: str) -> str:
        """The problem beside a field; empty where none is shown."""
        return self.field(key).problem

    async def type(self, key: str, text: str) -> None:
        """Type over what a field holds, and wait for the answer."""
        control: Any = self.field(key).control
        control.focus()
        await self.pilot.press("end", "ctrl+u", *(_KEYS.get(letter, letter) for letter in text))
        await self.answered()

    async def answered(self) -> None:
        """Wait until what was typed is in the draft, and checked."""
        await until(self.pilot, lambda: not self.form.is_behind)
        await settled(self.pilot)

    async def press(self, *keys: str) -> None:
        """Press keys outside the fields."""
        await self.pilot.press(*keys)
        await settled(self.pilot)


_KEYS = {".": "full_stop", "-": "minus", "/": "slash", ",": "comma", " ": "space", ":": "colon", "_": "underscore"}


def write_run(folder: Path, name: str = "tunefare.yaml", **values: str) -> Path:
    """A run file that can be planned, with its data."""
    from manager.service.drafts import Draft

    write_news(folder)
    draft = Draft.new({"model.source": MODEL, "data.source": "news.csv", "name": "news"}, folder=folder)
    for key, value in values.items():
        draft = draft.set(key.replace("__", "."), value)
    draft.save(folder / name, expected=None)
    return folder / name


@asynccontextmanager
async def form_open(
    monkeypatch: pytest.MonkeyPatch, context: Context, file: Path | None, size: tuple[int, int] = (100, 50)
) -> AsyncIterator[FormUser]:
    """The form with this file, read and checked."""
    monkeypatch.setitem(TunefareApp.MODES, "plan", FormScreen)
    async with running(TunefareApp(context, file), size) as pilot:
        user = FormUser(pilot)
        await until(pilot, lambda: user.form.is_read)
        await user.answered()
        yield user
