"""The difference of two plans in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from manager.planner.difference import PlanDifference
from manager.reports.plan_difference import Table, bill, headline, memory, question, remarks, summary


def print_difference(found: PlanDifference, console: Console, *, name: str | None, over: Sequence[str]) -> None:
    """Print the whole answer; dollars first."""
    console.print(f"[bold]{escape(name or found.new.name)}[/bold]: {escape(headline(found))}")
    for sentence in over:
        console.print(f"[bold]over a limit:[/bold] {escape(sentence)}")
    console.print()
    for table in (summary(found), question(found), bill(found), memory(found)):
        if table.rows:
            console.print(_drawn(table))
            console.print()
    for sentence in remarks(found):
        console.print(f"note: {escape(sentence)}")


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(box=None, pad_edge=False, title=escape(table.title) or None, title_justify="left")
    drawn.add_column("", overflow="fold")
    with_change = any(row.change for row in table.rows)
    for title in ("before", "now"):
        drawn.add_column(title, justify="right", overflow="fold")
    if with_change:
        drawn.add_column("change", justify="right", no_wrap=True)
    for row in table.rows:
        cells = [row.name, row.old, row.new, *([row.change] if with_change else [])]
        drawn.add_row(*(escape(cell) for cell in cells), style="bold" if row.name == "total" else None)
    return drawn
