"""What the rules of prices found in the catalogs, over the screen Prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from manager.service.nouns import RuleCount
from tui.actions import bindings
from tui.screens.price_table import AUDIT, audit_rows
from tui.widgets.table import RowTable


class AuditDialog(ModalScreen[None]):
    """A table of counts; Esc goes back."""

    CSS_PATH = "../styles/prices.tcss"
    SCOPE: ClassVar[str] = "audit"
    BINDINGS: ClassVar[list[BindingType]] = bindings("audit")

    def __init__(self, counts: Sequence[RuleCount]) -> None:
        super().__init__()
        self._rows = {row.key: row for row in audit_rows(counts)}

    def compose(self) -> ComposeResult:
        """The table and what it is."""
        with Vertical(classes="dialog"):
            yield Static("A rule never invents a price: what cannot be believed is unknown.", markup=False)
            yield RowTable(AUDIT, empty="no rule found anything", marks=False)
            yield Static(id="meaning", markup=False)
            yield Static("/ filter · s sort · Esc: back", classes="dim", markup=False)

    def on_mount(self) -> None:
        """Show all."""
        table = self.query_one(RowTable)
        table.show(list(self._rows.values()))
        table.rows.focus()

    @on(RowTable.Highlighted)
    def _highlighted(self, message: RowTable.Highlighted) -> None:
        """The sentence of the rule, which the table has no room for in a narrow terminal."""
        row = None if message.key is None else self._rows.get(message.key)
        if row is not None:
            self.query_one("#meaning", Static).update(f"{row.cells[2]}: {row.cells[3]}")

    def action_leave(self) -> None:
        """Back to the prices."""
        self.dismiss()
