"""Columns of a table, and what becomes of them where the terminal is narrow: some give cells, some are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PADDING = 2
"""Of a cell, both sides together."""
SCROLLBAR = 2
WIDEST = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column."""

    key: str
    title: str
    cut: int = 0
    """The higher, the earlier the column is left out when the terminal is narrow; 0: never."""
    is_number: bool = False
    """Numbers stand to the right."""
    widest: int = WIDEST
    """Cells of text beyond this are cut by `…`."""
    least: int | None = None
    """Cells to which it gives way before a column is left out; None: it keeps its width."""


def layout(columns: Sequence[Column], widths: Sequence[int], room: int) -> dict[int, int]:
    """Numbers of the columns that have room, in their order, each with its width.

    Args:
        columns: from left to right.
        widths: that they would like, padding apart.
        room: cells of the table.
    """
    wanted = list(range(len(columns)))

    def least(number: int) -> int:
        given = columns[number].least
        return widths[number] if given is None else min(given, widths[number])

    while sum(least(number) + PADDING for number in wanted) > room:
        goes = max(wanted, key=lambda number: (columns[number].cut, number))
        if columns[goes].cut == 0:
            break
        wanted.remove(goes)
    found = {number: least(number) for number in wanted}
    # What a column may take beyond its least leaves the scrollbar free.
    left = room - SCROLLBAR - sum(width + PADDING for width in found.values())
    for number in wanted:
        more = max(0, min(left, widths[number] - found[number]))
        found[number] += more
        left -= more
    return found
