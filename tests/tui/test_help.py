"""Help: every action with its key and its command, the present screen first; found by words."""

from __future__ import annotations

from pathlib import Path

from tests.support.tui_stage import running, settled, text_of, tui_context
from tui.actions import ACTIONS
from tui.app import TunefareApp
from tui.screens.help import HelpScreen, ordered
from tui.widgets.table import RowTable


def test_the_keys_of_the_screen_come_first_then_those_of_all() -> None:
    scopes = [action.scope for action in ordered(ACTIONS, "settings")]
    assert scopes[0] == "settings"
    assert scopes.index("table") < scopes.index("app") < scopes.index("prices")
    assert len(scopes) == len(ACTIONS)


async def test_every_action_stands_there_with_key_and_command(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app, (200, 50)) as pilot:
        await pilot.press("6")
        await settled(pilot)
        await pilot.press("question_mark")
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)
        assert set(app.screen.query_one(RowTable).shown_keys) == {action.id for action in ACTIONS}
        assert app.screen.query_one(RowTable).shown_keys[0].startswith("prices.")
        shown = text_of(app)
        assert "tunefare prices" in shown
        assert "Help · prices" in shown


async def test_words_find_an_action(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press("f1")
        await settled(pilot)
        await pilot.press("slash", *"billed prove")
        await settled(pilot)
        assert app.screen.query_one(RowTable).shown_keys == ("app.panic",)
        assert "tunefare panic" in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, HelpScreen)


async def test_own_keys_are_shown_and_what_is_not_heeded_is_told(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.keys_file.write_text('[keys]\n"app.tour" = "f9"\n"app.quit" = "cmd+q"\n')
    app = TunefareApp(context)
    async with running(app, (120, 40)) as pilot:
        await pilot.press("f1")
        await settled(pilot)
        await pilot.press("slash", *"walk through")
        await settled(pilot)
        assert " f9 " in text_of(app)
        assert "terminals keep keys with cmd for themselves" in " ".join(text_of(app).replace("│", "").split())


async def test_it_can_be_read_in_a_small_terminal(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app, (80, 24)) as pilot:
        await pilot.press("7")
        await settled(pilot)
        await pilot.press("question_mark")
        await settled(pilot)
        shown = text_of(app)
        assert "Take the setting out of the file" in shown
        assert "esc back" in shown
