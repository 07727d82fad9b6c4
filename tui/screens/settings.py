"""The screen Settings: each setting with its value and origin, and what this machine has.

Owns the line in which a value is typed. What a value may be and how it is written is `manager.service.settings`'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import ScreenResume
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from manager.errors import TunefareError
from manager.service.failures import error_text
from manager.service.settings import ChangedSetting, SettingState, reread, set_setting, settings, unset_setting
from tui.actions import bindings
from tui.screens.base import BaseScreen
from tui.themes import colour
from tui.threads import Failed
from tui.widgets.table import Column, Row, RowTable

if TYPE_CHECKING:
    from manager.service.doctor import Check

_COLUMNS = (
    Column(key="name", title="setting"),
    Column(key="value", title="value", widest=32),
    Column(key="origin", title="origin", widest=32),
    Column(key="default", title="default", cut=1, widest=20),
    Column(key="text", title="meaning", cut=2, widest=60),
)
_CHECKS = "checks"
_MARKS = {"ok": ("✓", "success"), "missing": ("-", "warning"), "error": ("!", "error")}


class Examined(Message):
    """What was found on this machine."""

    def __init__(self, checks: list[Check]) -> None:
        super().__init__()
        self.checks = checks


class SettingsScreen(BaseScreen):
    """Settings to the left, this machine to the right; one at a time where the terminal is narrow."""

    SCOPE: ClassVar[str] = "settings"
    BINDINGS = bindings("settings")
    CSS_PATH = "../styles/settings.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, SettingState] = {}
        self._edited: str | None = None

    def compose_body(self) -> ComposeResult:
        """The table with its line to type in, and what was found here."""
        with Horizontal():
            with Vertical(id="settings"):
                yield RowTable(_COLUMNS, empty="no setting", marks=False)
                yield Static(id="meaning", markup=False)
                yield Static(id="told", markup=False)
                yield Input(id="edit")
            with VerticalScroll(id="machine", can_focus=True):
                yield Static(id="places", markup=False)
                yield Static("looking at this machine ...", id="checks")

    def on_mount(self) -> None:
        """Show all; look at the machine beside."""
        self.query_one("#settings").border_title = "Settings · Enter edits"
        self.query_one("#machine").border_title = "This machine · d"
        self._show()
        self.query_one(RowTable).rows.focus()
        self._look()

    @on(ScreenResume)
    def _on_resume(self) -> None:
        self._read_again()

    def action_again(self) -> None:
        """Read and look again."""
        self._read_again()
        self.query_one("#checks", Static).update("looking at this machine ...")
        self._look()

    def action_checks(self) -> None:
        """Where there is no room for both, show the other one."""
        is_machine = self.toggle_class("-machine").has_class("-machine")
        (self.query_one("#machine") if is_machine else self.query_one(RowTable).rows).focus()

    def action_unset(self) -> None:
        """Take the setting under the cursor out of the file."""
        name = self.query_one(RowTable).cursor_key
        if name is not None:
            self._change(lambda: unset_setting(self.context, name))

    @on(RowTable.Highlighted)
    def _explain(self, event: RowTable.Highlighted) -> None:
        state = self._states.get(event.key or "")
        if state is None:
            self.query_one("#meaning", Static).update("")
            return
        can_be = f"one of {', '.join(state.choices)}" if state.choices else state.unit
        rules = f"{can_be} · default {state.default or 'none'} · environment {state.variable}"
        self.query_one("#meaning", Static).update(f"{state.name}: {state.meaning}\n{rules}")

    @on(RowTable.Chosen)
    def _open_line(self, event: RowTable.Chosen) -> None:
        self._edit(event.key)

    def action_edit(self) -> None:
        """Open the line for the setting under the cursor."""
        self._edit(self.query_one(RowTable).cursor_key)

    def _edit(self, name: str | None) -> None:
        state = self._states.get(name or "")
        if state is None:
            return
        self._edited = state.name
        line = self.query_one("#edit", Input)
        line.value = state.value
        line.suggester = SuggestFromList(state.choices) if state.choices else None
        line.border_title = f"{state.name}, {', '.join(state.choices) or state.unit}"
        line.border_subtitle = "Enter writes · Esc leaves it"
        line.add_class("-open")
        line.focus()
        self._tell("", "")

    @on(Input.Submitted, "#edit")
    def _write(self, event: Input.Submitted) -> None:
        event.stop()
        name, value = self._edited, event.value
        if name is not None and self._change(lambda: set_setting(self.context, name, value)):
            self._close_line()

    def action_back(self) -> None:
        """Esc leaves the line, then the machine."""
        if self._edited is not None:
            self._close_line()
            self._tell("", "")
        elif self.has_class("-machine"):
            self.action_checks()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a value is typed nothing else is changed; beside the machine's checks there may be no table."""
        if action == "edit" and self.has_class("-machine"):
            return False
        return self._edited is None or action not in ("edit", "unset", "again", "checks")

    def on_examined(self, event: Examined) -> None:
        """Draw what was found."""
        found = Text()
        for check in event.checks:
            mark, name = _MARKS[check.state]
            style = f"bold {colour(self.app, f'text-{name}')}".strip()
            found.append(f"{mark} {check.name}: {check.state}\n", style=style)
            found.append(f"  {check.detail}\n")
            if check.hint:
                found.append(f"  {check.hint}\n", style="italic")
        self.query_one("#checks", Static).update(found)

    def on_failed(self, message: Failed) -> None:
        """Checks that cannot be made are told in their place."""
        self.query_one("#checks", Static).update(Text(error_text(message.error)))

    def _look(self) -> None:
        context = self.context

        def examine() -> Message:
            from manager.service.doctor import examine  # prices and SkyPilot; the other screens do not need them

            return Examined(examine(context))

        self.in_thread(examine, group=_CHECKS)

    def _read_again(self) -> None:
        try:
            self.tunefare.apply_settings(reread(self.context))
        except TunefareError as error:
            self._tell(error_text(error), "error")
        self._show()

    def _change(self, change: Callable[[], ChangedSetting]) -> bool:
        try:
            changed = change()
        except TunefareError as error:
            self._tell(error_text(error), "error")
            return False
        self.tunefare.apply_settings(changed.context)
        self._show()
        state = changed.state
        told = f"{state.name} = {state.shown} ({state.origin})"
        self._tell(f"note: {changed.note}" if changed.note else told, "warning" if changed.note else "success")
        return True

    def _show(self) -> None:
        states = settings(self.context)
        self._states = {state.name: state for state in states}
        self.query_one(RowTable).show([_row(state) for state in states])
        home = self.context.home
        places = {"home": home.root, "settings": home.config_file, "keys": home.keys_file, "ledger": home.ledger_file}
        lines = {name: f"{place}{'' if place.exists() else ' (not there yet)'}" for name, place in places.items()}
        if self.context.ledger_url is not None:
            lines["ledger"] = "on a server, as ledger_url says"
        lines["plans"] = f"{home.plans_dir}{'' if home.plans_dir.exists() else ' (not there yet)'}"
        self.query_one("#places", Static).update("\n".join(f"{name}: {told}" for name, told in lines.items()))

    def _tell(self, text: str, style: str) -> None:
        told = self.query_one("#told", Static)
        told.set_classes(style)
        told.display = bool(text)
        told.update(text)

    def _close_line(self) -> None:
        self._edited = None
        self.query_one("#edit", Input).remove_class("-open")
        self.query_one(RowTable).rows.focus()
        self.refresh_bindings()


def _row(state: SettingState) -> Row:
    cells = (state.name, state.shown, state.origin, state.default or "(none)", state.meaning)
    return Row(key=state.name, cells=cells, sort=cells)
