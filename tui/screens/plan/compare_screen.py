"""Marked offers side by side: rows are properties and cost lines, `≠` stands before those in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from manager.service.offer_words import DIFFERS, ComparedRow, compare_offers
from tui.actions import TABLE, actions_of, bindings

if TYPE_CHECKING:
    from manager.service.nouns import Estimate

_WIDEST, _LEAST = 44, 18
_NAME_CELLS, _FRAME = 30, 11
_PART = 0.96
"""Of the terminal's width, as the style has it; of that the frame is border, padding and scrollbar."""


class _Rows(DataTable[Text]):
    BINDINGS = [action.binding() for action in actions_of(TABLE) if action.call is not None]  # noqa: RUF012


class CompareScreen(ModalScreen[None]):
    """The comparison; `d` leaves only rows that differ."""

    SCOPE: ClassVar[str] = "offers_compare"
    BINDINGS = bindings("offers_compare")
    CSS_PATH = "../../styles/compare_screen.tcss"

    def __init__(self, estimates: Sequence[Estimate]) -> None:
        """
        Args:
            estimates: two or more, in the order of the columns.
        """
        super().__init__()
        self._estimates = tuple(estimates)
        self._rows = compare_offers(self._estimates)
        self._is_short = False

    def compose(self) -> ComposeResult:
        """Title, table, legend."""
        with Vertical(classes="dialog compare"):
            yield Static(f"{len(self._estimates)} offers side by side", classes="reading-title", markup=False)
            yield _Rows(cursor_type="row", fixed_columns=1)
            yield Static(f"{DIFFERS}: they differ · d: only those · Esc: back", classes="dim", markup=False)

    def on_mount(self) -> None:
        """Draw all rows."""
        self._draw()
        self.query_one(_Rows).focus()

    @property
    def rows(self) -> tuple[ComparedRow, ...]:
        """The rows that are shown."""
        return tuple(row for row in self._rows if row.differs) if self._is_short else self._rows

    def action_differing(self) -> None:
        """Only rows that differ, or all again."""
        self._is_short = not self._is_short
        self._draw()

    def action_back(self) -> None:
        """Back to the offers."""
        self.dismiss()

    def _draw(self) -> None:
        table = self.query_one(_Rows)
        table.clear(columns=True)
        room = int(self.app.size.width * _PART) - _NAME_CELLS - _FRAME
        width = max(_LEAST, min(_WIDEST, room // len(self._estimates) - 2))
        table.add_column("", width=_NAME_CELLS, key="name")
        for number, estimate in enumerate(self._estimates, start=1):
            table.add_column(Text(f"{number} {estimate.offer.title}", overflow="ellipsis"), width=width)
        group = ""
        for row in self.rows:
            if row.group != group:
                group = row.group
                table.add_row(Text(group, style="bold"), *(Text("") for _ in self._estimates))
            cells = (Text(cell, overflow="fold", no_wrap=False) for cell in row.cells)
            table.add_row(Text(f"{row.sign} {row.name}"), *cells, height=None)
