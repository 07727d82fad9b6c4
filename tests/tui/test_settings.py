"""The screen Settings: values with their origin, edits that are checked, the theme at once, what the machine has."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from manager.errors import StateError
from manager.service import doctor
from manager.service.context import Context
from manager.service.doctor import Check
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context
from tui.app import TunefareApp
from tui.screens.settings import SettingsScreen
from tui.widgets.table import RowTable

FOUND = [
    Check(name="tunefare", state="ok", detail="9.9.9, Python 3.11"),
    Check(name="SkyPilot", state="missing", detail="not installed", hint="install tunefare[sky]"),
    Check(name="ledger", state="error", detail="1 may still be billed", hint="run `tunefare reconcile`"),
]


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks ask SkyPilot and the device; what they find differs from machine to machine."""

    def examine(context: Context) -> list[Check]:
        return FOUND

    monkeypatch.setattr(doctor, "examine", examine)


async def open_on(pilot: Pilot[None], name: str) -> None:
    """The screen with the cursor on this setting."""
    await pilot.press("7")
    await settled(pilot)
    table = pilot.app.screen.query_one(RowTable)
    while table.cursor_key != name:
        before = table.cursor_key
        await pilot.press("j")
        await pilot.pause()
        assert table.cursor_key != before, f"there is no {name}"


async def put(pilot: Pilot[None], value: str) -> None:
    """Type a value for the setting under the cursor."""
    await pilot.press("enter")
    await pilot.pause()
    pilot.app.screen.query_one("#edit", Input).value = value
    await pilot.press("enter")
    await settled(pilot)


async def test_every_setting_stands_there_with_unit_and_origin(tmp_path: Path) -> None:
    context = tui_context(tmp_path, stop_grace_s="7")
    app = TunefareApp(context)
    async with running(app, (160, 50)) as pilot:
        await open_on(pilot, "stop_grace_s")
        shown = text_of(app)
        assert "7 s" in shown
        assert "TUNEFARE_STOP_GRACE_S" in shown
        assert "time for the trainer to save a checkpoint" in shown
        names = {value.setting.name for value in context.config.values}
        assert set(app.screen.query_one(RowTable).shown_keys) == names


async def test_an_edit_is_written_and_told(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    app = TunefareApp(context)
    async with running(app) as pilot:
        await open_on(pilot, "confirm_above_usd")
        await put(pilot, "25")
        assert tomllib.loads(context.home.config_file.read_text()) == {"confirm_above_usd": 25}
        assert app.context.config.text("confirm_above_usd") == "25"
        assert "confirm_above_usd = 25 USD (config.toml)" in text_of(app)
        await pilot.press("u")
        await settled(pilot)
        assert tomllib.loads(context.home.config_file.read_text()) == {}
        assert "confirm_above_usd = 10 USD (default)" in text_of(app)


async def test_a_wrong_value_is_told_beside_what_was_typed_and_nothing_is_written(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    app = TunefareApp(context)
    async with running(app) as pilot:
        await open_on(pilot, "confirm_above_usd")
        await put(pilot, "ten")
        assert "error: setting `confirm_above_usd` is 'ten'" in text_of(app)
        assert "hint: the default is 10 USD" in text_of(app)
        assert app.focused is app.screen.query_one("#edit")
        assert not context.home.config_file.exists()
        await pilot.press("escape")
        await pilot.pause()
        assert app.focused is app.screen.query_one(RowTable).rows
        assert "'ten'" not in text_of(app)


async def test_keys_of_screens_are_letters_while_a_value_is_typed(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await open_on(pilot, "catalog_url")
        await pilot.press("enter")
        await pilot.press("1", "q", "u", "d", "question_mark")
        await pilot.pause()
        assert isinstance(app.screen, SettingsScreen)
        assert app.screen.query_one("#edit", Input).value == "1qud?"


async def test_the_theme_changes_at_once(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        assert app.theme == "tunefare-dark"
        await open_on(pilot, "theme")
        await put(pilot, "light")
        assert app.theme == "tunefare-light"
        await put(pilot, "terminal")
        assert app.native_ansi_color
        await pilot.press("u")
        await settled(pilot)
        assert app.theme == "tunefare-dark"


async def test_the_environment_goes_before_and_that_is_told(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path, theme="dark"))
    async with running(app) as pilot:
        await open_on(pilot, "theme")
        await put(pilot, "light")
        assert app.theme == "tunefare-dark"
        assert "note: TUNEFARE_THEME is set to 'dark'" in text_of(app)


async def test_a_file_that_an_editor_changed_is_read_when_the_screen_comes_back(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    app = TunefareApp(context)
    async with running(app) as pilot:
        await open_on(pilot, "theme")
        await pilot.press("5")
        context.home.config_file.write_text('theme = "light"\n')
        await pilot.press("7")
        await settled(pilot)
        assert app.theme == "tunefare-light"
        await pilot.press("5")
        context.home.config_file.write_text("theme = \n")
        await pilot.press("7")
        await settled(pilot)
        assert "error: settings file" in text_of(app)
        assert app.theme == "tunefare-light"


async def test_what_the_machine_has_is_told_in_words(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    app = TunefareApp(context)
    async with running(app) as pilot:
        await open_on(pilot, "theme")
        shown = text_of(app)
        for words in ("tunefare: ok", "SkyPilot: missing", "ledger: error", "run `tunefare reconcile`", "9.9.9"):
            assert words in shown
        places = str(app.screen.query_one("#places", Static).render())
        for place in (context.home.root, context.home.config_file, context.home.ledger_file):
            assert f": {place}" in places


async def test_checks_that_cannot_be_made_are_told_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(context: Context) -> list[Check]:
        raise StateError("no such luck", hint="look again")

    monkeypatch.setattr(doctor, "examine", examine)
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await open_on(pilot, "theme")
        assert "error: no such luck" in text_of(app)
        assert isinstance(app.screen, SettingsScreen)


async def test_where_the_terminal_is_narrow_d_shows_the_machine(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app, (80, 24)) as pilot:
        await open_on(pilot, "theme")
        assert "SkyPilot: missing" not in text_of(app)
        await pilot.press("d")
        await pilot.pause()
        assert "SkyPilot: missing" in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
        assert "SkyPilot: missing" not in text_of(app)
        assert "TUNEFARE_THEME" in text_of(app)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_it_looks_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], theme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    context = tui_context(Path("."), theme=theme)
    app = TunefareApp(context)
    async with running(app, size) as pilot:
        await open_on(pilot, "confirm_above_usd")
        assert_snapshot(app, f"settings-{size[0]}x{size[1]}-{theme}")


async def test_the_key_of_the_footer_edits_as_enter_does(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    app = TunefareApp(context)
    async with running(app) as pilot:
        await open_on(pilot, "stop_grace_s")
        await pilot.press("e")
        await settled(pilot)
        edit = app.screen.query_one("#edit", Input)
        assert edit.has_class("-open")
        edit.value = "9"
        await pilot.press("enter")
        await settled(pilot)
        assert app.context.config.number("stop_grace_s") == 9
        await pilot.press("e", "escape")
        await settled(pilot)
        assert not edit.has_class("-open")
