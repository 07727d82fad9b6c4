"""Help: the keys of the screen where it was asked for, then those that hold everywhere, then all others.

Each row has the command line that does the same. Words and keys are those of `tui.actions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from tui.actions import ACTIONS, APP, TABLE, Action, bindings
from tui.keymap import user_keys
from tui.widgets.table import Column, Row, RowTable

if TYPE_CHECKING:
    from tui.app import TunefareApp

_COLUMNS = (
    Column(key="keys", title="keys", widest=20),
    Column(key="text", title="what it does", widest=54),
    Column(key="command", title="as a command", cut=1, widest=44),
    Column(key="where", title="where", cut=2),
)
_EVERYWHERE = "everywhere"


class HelpScreen(ModalScreen[None]):
    """All keys, those of one screen first."""

    SCOPE: ClassVar[str] = "help"
    BINDINGS = bindings("help")
    CSS_PATH = "../styles/help.tcss"

    def __init__(self, scope: str = APP) -> None:
        """
        Args:
            scope: of the screen whose keys come first.
        """
        super().__init__()
        self._scope = scope

    def compose(self) -> ComposeResult:
        """A line of what one must know, and the keys."""
        with Vertical(classes="dialog"):
            yield Static(
                "Number keys switch screens, Tab moves within one, Esc backs out, Ctrl+P finds every action by words. "
                "Closing the terminal ends no run.",
                markup=False,
            )
            yield RowTable(_COLUMNS, empty="no action", marks=False)
            yield Static(id="detail", markup=False)
            yield Static(id="own", markup=False)
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Show the keys that hold, the user's own too."""
        app = cast("TunefareApp", self.app)
        self.query_one(".dialog").border_title = f"Help · {self._scope}"
        keys = user_keys(app.context)
        shown = {row.action: " ".join(self._displayed(key) for key in row.keys) for row in keys.rows}
        table = self.query_one(RowTable)
        table.show([self._row(action, shown[action.id]) for action in ordered(ACTIONS, self._scope)])
        table.rows.focus()
        told = "\n".join(f"not heeded: {problem.message}; {problem.hint}" for problem in keys.problems)
        own = f"own keys: {app.context.home.keys_file}, see `tunefare tui --keys`"
        self.query_one("#own", Static).update(f"{own}\n{told}" if told else own)

    @on(RowTable.Highlighted)
    def _tell(self, event: RowTable.Highlighted) -> None:
        action = next((action for action in ACTIONS if action.id == event.key), None)
        if action is None:
            self.query_one("#detail", Static).update("")
            return
        command = f"as a command: {action.command}" if action.command else "it moves or shows, there is no command"
        self.query_one("#detail", Static).update(f"{action.id}: {action.text}\n{command}")

    def action_back(self) -> None:
        """Back."""
        self.dismiss()

    def _displayed(self, key: str) -> str:
        return self.app.get_key_display(Binding(key, ""))

    def _row(self, action: Action, keys: str) -> Row:
        where = _EVERYWHERE if action.scope == APP else "tables" if action.scope == TABLE else action.screen
        cells = (keys, action.text, action.command or "", where)
        return Row(key=action.id, cells=cells, sort=cells, style="dim" if is_elsewhere(action, self._scope) else "")


def ordered(actions: Iterable[Action], scope: str) -> list[Action]:
    """The actions of one screen, those of tables, those of the whole application, then the others."""
    order = {scope: 0, TABLE: 1, APP: 2}
    return sorted(actions, key=lambda action: order.get(action.screen, 3))


def is_elsewhere(action: Action, scope: str) -> bool:
    """Whether the action belongs to another screen."""
    return action.screen not in (scope, TABLE, APP)
