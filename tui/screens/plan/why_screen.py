"""One offer in full over the screen, and the notes of a plan: what `tunefare plan` and its `--why` print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from manager.service.offer_words import BILL_COLUMNS, BREAK_EVEN_COLUMNS, MEMORY_COLUMNS, Why
from tui.actions import bindings


class _Reading(ModalScreen[None]):
    """Text that scrolls; Esc leads back."""

    SCOPE: ClassVar[str] = "reading"
    BINDINGS = bindings("reading")
    CSS_PATH = "../../styles/reading.tcss"

    def compose(self) -> ComposeResult:
        """The text in a dialog."""
        with VerticalScroll(classes="dialog reading") as scroll:
            scroll.can_focus = True
            yield from self.compose_text()
            yield Static("j/k: scroll · Esc: back", classes="dim", markup=False)

    def compose_text(self) -> Iterable[Widget]:
        """What is to be read."""
        yield from ()

    def on_mount(self) -> None:
        """Keys scroll at once."""
        self.query_one(".reading").focus()

    def action_back(self) -> None:
        """Back to where it was asked."""
        self.dismiss()

    def action_down(self) -> None:
        """A line down."""
        self.query_one(".reading").scroll_down(animate=False)

    def action_up(self) -> None:
        """A line up."""
        self.query_one(".reading").scroll_up(animate=False)

    def action_top(self) -> None:
        """To the first line."""
        self.query_one(".reading").scroll_home(animate=False)

    def action_bottom(self) -> None:
        """To the last line."""
        self.query_one(".reading").scroll_end(animate=False)


class WhyScreen(_Reading):
    """Why an offer is where it is."""

    def __init__(self, why: Why) -> None:
        """
        Args:
            why: in words.
        """
        super().__init__()
        self.why = why

    def compose_text(self) -> Iterable[Widget]:
        """Verdict first, then spot, bill, memory."""
        told = self.why
        yield Static(told.name, classes="reading-title", markup=False)
        yield Static(f"key {told.key}", classes="dim", markup=False)
        yield Static(told.verdict, classes="error" if told.is_rejected else "", markup=False)
        yield Static(told.price, markup=False)
        if told.cost is not None:
            yield Static(f"{told.cost} to the finished job in {told.time}", markup=False)
        if told.how:
            yield Static(told.how, markup=False)
        if told.break_even is not None:
            if told.break_even.rows:
                yield Static(told.break_even.title, classes="reading-part", markup=False)
                yield Static(_table(BREAK_EVEN_COLUMNS, told.break_even.rows))
            yield Static("\n".join(told.break_even.sentences), markup=False)
        if told.bill is not None:
            yield Static("bill", classes="reading-part", markup=False)
            yield Static(_table(BILL_COLUMNS, told.bill.rows, left=(0, len(BILL_COLUMNS) - 1)))
            rests_on = (*([told.bill.host] if told.bill.host else []), *told.bill.assumptions)
            yield Static("\n".join(rests_on), classes="dim", markup=False)
        if told.memory:
            yield Static("memory of one device", classes="reading-part", markup=False)
            yield Static(_table(MEMORY_COLUMNS, [(row.name, row.size, row.share) for row in told.memory]))


class NotesScreen(_Reading):
    """What the user should know of a plan."""

    def __init__(self, notes: Sequence[str]) -> None:
        """
        Args:
            notes: of the plan.
        """
        super().__init__()
        self._notes = tuple(notes)

    def compose_text(self) -> Iterable[Widget]:
        """One paragraph for each."""
        yield Static("Notes of this plan", classes="reading-title", markup=False)
        for note in self._notes:
            yield Static(f"- {note.removesuffix('.')}", markup=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: tuple[int, ...] = (0,)) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        is_left = number in left
        table.add_column(column, justify="left" if is_left else "right", overflow="fold", no_wrap=not is_left)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
