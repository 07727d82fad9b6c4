"""Spot against on demand as a table: what each is expected to cost, and where spot stops paying."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.reports.break_even_words import COLUMNS, BreakEvenWords


def print_break_even(told: BreakEvenWords, console: Console) -> None:
    """Print the comparison of a spot offer with the same machine on demand, and what follows from it."""
    console.print()
    if told.rows:
        # As a title it would be folded to the width of the table.
        console.print(escape(told.title), style="italic")
        table = Table(box=None, pad_edge=False)
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left")
        for row in told.rows:
            table.add_row(*row)
        console.print(table)
    for sentence in told.sentences:
        console.print(sentence)
    console.print()
