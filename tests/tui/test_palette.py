"""The palette finds every action that can be reached, and does what its key does."""

from __future__ import annotations

from pathlib import Path

from textual.command import CommandPalette, DiscoveryHit
from textual.widgets import Input

from tests.support.tui_stage import running, settled, text_of, tui_context
from tui.actions import ACTIONS
from tui.app import TunefareApp
from tui.palette import Actions
from tui.screens.help import HelpScreen
from tui.screens.settings import SettingsScreen
from tui.widgets.table import RowTable


async def found(app: TunefareApp) -> list[DiscoveryHit]:
    return [hit async for hit in Actions(app.screen).discover() if isinstance(hit, DiscoveryHit)]


async def test_every_action_of_the_screens_is_offered(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press("7")
        await settled(pilot)
        hits = await found(app)
        helps = " ".join(str(hit.help) for hit in hits)
        reachable = [action for action in ACTIONS if action.scope in ("app", "table", *app.MODES)]
        assert [action.id for action in reachable if action.text not in helps and action.id != "table.mark"] == []
        assert str(hits[0].text).startswith("edit (e)")
        assert "Command: tunefare config unset NAME" in helps


async def test_words_lead_to_an_action(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press("ctrl+p")
        await settled(pilot)
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"help")
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)


async def test_an_action_of_another_screen_goes_there(tmp_path: Path) -> None:
    context = tui_context(tmp_path)
    context.home.config_file.write_text("local_price_usd_per_hour = 3\n")
    app = TunefareApp(context)
    async with running(app) as pilot:
        assert not isinstance(app.screen, SettingsScreen)
        unset = next(hit for hit in await found(app) if str(hit.text).startswith("Settings: unset"))
        app.call_later(unset.command)
        await settled(pilot)
        assert isinstance(app.screen, SettingsScreen)
        assert "local_price" not in context.home.config_file.read_text()


async def test_an_action_of_a_table_is_done_by_the_table(tmp_path: Path) -> None:
    app = TunefareApp(tui_context(tmp_path))
    async with running(app) as pilot:
        await pilot.press("7")
        await settled(pilot)
        filters = next(hit for hit in await found(app) if str(hit.text).startswith("filter"))
        app.call_later(filters.command)
        await settled(pilot)
        assert app.focused is app.screen.query_one(RowTable).query_one("#filter", Input)
        assert "words that a row must have" in text_of(app)
