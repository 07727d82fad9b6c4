"""Marked runs side by side: properties as rows, runs as columns, with a sign where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import ScrollableContainer, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from manager.service.failures import error_text
from manager.service.run_compare import ComparedRow, runs_side_by_side
from tui.actions import bindings
from tui.threads import Failed

if TYPE_CHECKING:
    from tui.app import TunefareApp

_NAME_CELLS = 18
_LEAST_CELLS = 22
"""Of a run's column; with more runs than have room the table is scrolled sideways."""


class Compared(Message):
    """The rows."""

    def __init__(self, rows: Sequence[ComparedRow]) -> None:
        super().__init__()
        self.rows = tuple(rows)


class RunCompareDialog(ModalScreen[None]):
    """Shows the runs that were marked, in the order of their marks."""

    SCOPE: ClassVar[str] = "compare"
    BINDINGS = bindings("compare")
    CSS_PATH = "../styles/run_compare.tcss"

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()
        self._run_ids = tuple(run_ids)
        self._rows: tuple[ComparedRow, ...] = ()
        self._all = False

    def compose(self) -> ComposeResult:
        """Title, table, keys."""
        with Vertical(id="compare", classes="dialog"):
            yield Static("reading ...", id="compare-told", markup=False)
            with ScrollableContainer(id="compare-pane"):
                yield Static(id="compare-table")
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Read the runs."""
        context, run_ids = self._tunefare.context, self._run_ids
        self._tunefare.threads.start(self, lambda: Compared(runs_side_by_side(context, run_ids)), group="compare")
        self.query_one("#compare-pane").focus()

    @property
    def _tunefare(self) -> TunefareApp:
        return cast("TunefareApp", self.app)

    @on(Compared)
    def _compared(self, message: Compared) -> None:
        self._rows = message.rows
        self._draw()

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        told = self.query_one("#compare-told", Static)
        told.update(error_text(message.error))
        told.add_class("error")

    def on_resize(self) -> None:
        """Columns share the width."""
        if self._rows:
            self._draw()

    def _draw(self) -> None:
        differing = [row for row in self._rows if row.differs]
        shown = self._rows if self._all else differing
        also = "all properties" if self._all else "d shows the others too"
        self.query_one("#compare-told", Static).update(
            f"{len(self._run_ids)} runs: {len(differing)} of {len(self._rows)} properties differ (≠); {also}"
        )
        pane = self.query_one("#compare-pane")
        least = _NAME_CELLS + 4 + len(self._run_ids) * (_LEAST_CELLS + 2)
        table = self.query_one("#compare-table", Static)
        table.styles.width = max(pane.size.width - 2, least)
        table.update(self._table(shown))

    def _table(self, rows: Sequence[ComparedRow]) -> Table:
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
        table.add_column("", width=1)
        table.add_column("", width=_NAME_CELLS)
        for run_id in self._run_ids:
            table.add_column(Text(run_id), ratio=1, min_width=_LEAST_CELLS, overflow="fold")
        group = ""
        for row in rows:
            if row.group != group:
                group = row.group
                table.add_row("", Text(group, style="italic"))
            style = "bold" if row.differs and self._all else ""
            table.add_row(row.sign, *(Text(text, style=style) for text in (row.name, *row.cells)))
        return table

    def action_all(self) -> None:
        """All properties, or only those that differ."""
        self._all = not self._all
        if self._rows:
            self._draw()

    async def action_reports(self) -> None:
        """Their reports."""
        app = self._tunefare
        self.dismiss()
        await app.open_reports(self._run_ids)

    def action_down(self) -> None:
        """One line down."""
        self.query_one("#compare-pane").scroll_down(animate=False)

    def action_up(self) -> None:
        """One line up."""
        self.query_one("#compare-pane").scroll_up(animate=False)

    def action_back(self) -> None:
        """Back to the list."""
        self.dismiss()
