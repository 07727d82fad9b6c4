"""A table of many rows: filter, marks, sort, vi keys, and columns that give way when the terminal is narrow.

Owns what the user sees and marks. Rows come as text with the values to sort by; what they mean is the screen's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from tui.actions import TABLE, bindings
from tui.themes import colour
from tui.widgets.columns import Column as Column
from tui.widgets.columns import layout
from tui.widgets.line_input import LineInput

MARK = "●"
_CHUNK = 500
"""Rows that are drawn at once; more come when the cursor gets near an end of them, so that 20,000 open in no time."""
_NEAR = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row."""

    key: str
    """Stable: marks and the cursor follow it."""
    cells: tuple[str, ...]
    """A text for each column; signs or words say what the style says."""
    sort: tuple[Any, ...]
    """A value for each column; None is unknown and comes last."""
    style: str = ""
    """`error`, `warning`, `success`, `dim` or nothing."""
    is_first: bool = False
    """Stays on top however the rows are sorted."""


class _Rows(DataTable[Text]):
    BINDINGS = bindings(TABLE)

    def action_filter(self) -> None:
        self._table.open_filter()

    def action_mark(self) -> None:
        self._table.toggle_mark()

    def action_sort(self) -> None:
        self._table.sort_next()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing is marked where marks mean nothing."""
        return action != "mark" or self._table.has_marks

    def action_scroll_top(self) -> None:
        self._table.go_to(0)

    def action_scroll_bottom(self) -> None:
        self._table.go_to(-1)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._table.reach(round(new_value) + self.size.height)

    @property
    def _table(self) -> RowTable:
        parent = self.parent
        assert isinstance(parent, RowTable)
        return parent


class RowTable(Vertical):
    """The table with its filter line and a line that counts rows."""

    DEFAULT_CSS = """
    RowTable { height: 1fr; }
    RowTable > _Rows { height: 1fr; background: transparent; overflow-x: hidden; scrollbar-size-vertical: 1; }
    RowTable > Input { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    RowTable > Input:focus { border: none; }
    RowTable > Input.-open { display: block; }
    RowTable > Static { height: 1; color: $text-muted; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close_filter", "end filter", show=False)]
    STYLES: ClassVar = {"error": "bold", "warning": "", "success": "", "dim": "dim", "": ""}

    class Highlighted(Message):
        """The cursor stands on another row; key None: there is none."""

        def __init__(self, table: RowTable, key: str | None) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> RowTable:
            """The table, for `@on` selectors."""
            return self.table

    class Chosen(Highlighted):
        """Enter was pressed on a row."""

    class MarksChanged(Message):
        """Rows were marked or unmarked."""

        def __init__(self, table: RowTable, keys: tuple[str, ...]) -> None:
            super().__init__()
            self.table, self.keys = table, keys

        @property
        def control(self) -> RowTable:
            """The table, for `@on` selectors."""
            return self.table

    def __init__(self, columns: Sequence[Column], *, empty: str, id: str | None = None, marks: bool = True) -> None:  # noqa: A002
        """
        Args:
            columns: from left to right.
            empty: what is said when there is no row.
            id: as any widget's.
            marks: whether rows can be marked.
        """
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._empty = empty
        self.has_marks = marks
        self._rows: dict[str, Row] = {}
        self._widths = tuple(self._width(number) for number in range(len(self._columns)))
        self._visible: dict[int, int] = {}
        """Numbers of the columns that are shown, with their widths."""
        self._shown: list[str] = []
        self._first = self._drawn = 0
        """Of the shown ones, the stretch that is drawn: from the first to before the second."""
        self._marked: dict[str, None] = {}
        self._words: tuple[str, ...] = ()
        self._sort: tuple[int, bool] | None = None
        self._note = ""

    def compose(self) -> ComposeResult:
        """Filter, table, count."""
        yield LineInput(placeholder="words that a row must have; Esc ends the filter", id="filter", disabled=True)
        yield _Rows(cursor_type="row", zebra_stripes=False, show_row_labels=False)
        yield Static(markup=False, id="count")

    @property
    def rows(self) -> _Rows:
        """The table itself, to give it the focus."""
        return self.query_one(_Rows)

    @property
    def marked(self) -> tuple[str, ...]:
        """Keys of the marked rows, in the order in which they were marked."""
        return tuple(self._marked)

    @property
    def cursor_key(self) -> str | None:
        """Key of the row under the cursor."""
        place = self._first + self.rows.cursor_row
        return self._shown[place] if 0 <= place < self._drawn else None

    @property
    def shown_keys(self) -> tuple[str, ...]:
        """Keys of the rows on the screen, top to bottom."""
        return tuple(self._shown)

    def show(self, rows: Sequence[Row], *, note: str = "") -> None:
        """Show these rows; cursor, marks, filter and sort stay as they are.

        Args:
            rows: with keys that differ.
            note: is put behind the number of rows.
        """
        self._rows = {row.key: row for row in rows}
        self._note = note
        self._marked = {key: None for key in self._marked if key in self._rows}
        self._widths = tuple(self._width(number) for number in range(len(self._columns)))
        self._draw()

    def update_row(self, row: Row) -> None:
        """Change one row that is shown already, in its place; the widths of columns stay."""
        before = self._rows.get(row.key)
        if before is None:
            raise KeyError(row.key)
        self._rows[row.key] = row
        if before == row:
            return
        if any(self._room(number, cell) > self._widths[number] for number, cell in enumerate(row.cells)):
            # Money that grows must not be cut.
            self._widths = tuple(self._width(number) for number in range(len(self._columns)))
            self._draw()
            return
        if row.key not in self._shown[self._first : self._drawn]:
            return
        for number, cell in zip(self._visible, self._cells(row), strict=True):
            self.rows.update_cell(row.key, self._columns[number].key, cell)

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor, and go on to the next."""
        key = self.cursor_key
        if key is None or not self.has_marks:
            return
        if key in self._marked:
            del self._marked[key]
        else:
            self._marked[key] = None
        self._draw_mark(key)
        self.rows.action_cursor_down()
        self._count()
        self.post_message(self.MarksChanged(self, self.marked))

    def sort_next(self) -> None:
        """Sort by the next column: upwards, downwards, then the next; after the last as the rows came."""
        order = [(number, down) for number in self._visible for down in (False, True)]
        if self._sort is None or self._sort not in order:
            self._sort = order[0] if order else None
        else:
            following = order.index(self._sort) + 1
            self._sort = order[following] if following < len(order) else None
        self._draw()

    def open_filter(self) -> None:
        """Let the user type words."""
        line = self.query_one("#filter", Input)
        line.add_class("-open")
        line.disabled = False
        line.focus()

    def close_filter(self) -> None:
        """Show all rows again."""
        line = self.query_one("#filter", Input)
        line.value = ""
        line.remove_class("-open")
        line.disabled = True
        self.rows.focus()

    def action_close_filter(self) -> None:
        """Esc ends the filter."""
        self.close_filter()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a filter Esc is the screen's."""
        return action != "close_filter" or self.query_one("#filter", Input).has_class("-open")

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        self._words = tuple(event.value.casefold().split())
        if self._words:
            self.rows.move_cursor(row=0)  # Who types words looks for the first row that has them.
        self._draw()

    @on(Input.Submitted, "#filter")
    def _filtered(self, event: Input.Submitted) -> None:
        event.stop()
        self.rows.focus()

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        row = self.rows.cursor_row
        self.reach(row)
        if row < _NEAR and self._first:
            self._draw_window(self._first + row)
        self.post_message(self.Highlighted(self, self.cursor_key))

    @on(DataTable.RowSelected)
    def _chosen(self, event: DataTable.RowSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(self, self.cursor_key))

    @on(DataTable.HeaderSelected)
    def _sort_by(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        number = tuple(self._visible)[event.column_index]
        self._sort = (number, self._sort == (number, False))
        self._draw()

    def on_resize(self, event: Resize) -> None:
        """Columns come and go with the width."""
        if self._layout() != self._visible:
            self._draw()

    def _draw(self) -> None:
        table, key = self.rows, self.cursor_key
        place = self._first + table.cursor_row
        self._visible = self._layout()
        keys = [row.key for row in self._rows.values() if self._is_wanted(row)]
        self._shown = self._sorted(keys)
        with self.app.batch_update():
            table.clear(columns=True)
            for number, width in self._visible.items():
                column = self._columns[number]
                table.add_column(self._title(number), width=width, key=column.key)
            self._draw_window(self._place(key, place))
        self._count()

    def go_to(self, place: int) -> None:
        """Put the cursor on a row of the shown ones; -1 is the last. Rows far from it are left out again."""
        if self._shown:
            self._draw_window(place % len(self._shown))

    def reach(self, row: int) -> None:
        """Draw further rows, where a drawn one is near their end."""
        if row + _NEAR >= self._drawn - self._first and self._drawn < len(self._shown):
            self._draw_rows(self._drawn + _CHUNK)

    def _draw_window(self, place: int) -> None:
        """Draw the rows around a place, and put the cursor there."""
        self.rows.clear()
        self._first = self._drawn = max(0, place - _CHUNK // 2)
        self._draw_rows(self._first + _CHUNK)
        if self._shown:
            self.rows.move_cursor(row=place - self._first)

    def _draw_rows(self, until: int) -> None:
        for row_key in self._shown[self._drawn : until]:
            self.rows.add_row(*self._cells(self._rows[row_key]), key=row_key)
        self._drawn = min(until, len(self._shown))

    def _place(self, key: str | None, place: int) -> int:
        """Row of the cursor: where its key has gone, else where it was."""
        if key is not None and key in self._shown:
            return self._shown.index(key)
        return min(max(place, 0), max(len(self._shown) - 1, 0))

    def _sorted(self, keys: list[str]) -> list[str]:
        if self._sort is not None:
            number, down = self._sort
            known = [key for key in keys if self._rows[key].sort[number] is not None]
            unknown = [key for key in keys if self._rows[key].sort[number] is None]
            known.sort(key=lambda key: self._rows[key].sort[number], reverse=down)
            keys = known + unknown
        return sorted(keys, key=lambda key: not self._rows[key].is_first)

    def _is_wanted(self, row: Row) -> bool:
        if not self._words:
            return True
        text = " ".join(row.cells).casefold()
        return all(word in text for word in self._words)

    def _layout(self) -> dict[int, int]:
        return layout(self._columns, self._widths, self.size.width or self.app.size.width)

    def _width(self, number: int) -> int:
        column = self._columns[number]
        longest: Callable[[str], int] = len if len(self._rows) > 2000 else cell_len
        text = max((row.cells[number] for row in self._rows.values()), default="", key=longest)
        # Two more for the arrow of the sort.
        return max(self._room(number, text), self._room(number, column.title + "  "))

    def _room(self, number: int, text: str) -> int:
        """Cells that a text wants in its column; in the first, the mark comes before it."""
        return min(cell_len(text), self._columns[number].widest) + (2 if number == 0 and self.has_marks else 0)

    def _title(self, number: int) -> str:
        column = self._columns[number]
        arrow = "" if self._sort is None or self._sort[0] != number else " ▼" if self._sort[1] else " ▲"
        title = f"{column.title}{arrow}"
        return title.rjust(self._visible[number]) if column.is_number else title

    def _cells(self, row: Row) -> list[Text]:
        return [self._cell(row, number) for number in self._visible]

    def _cell(self, row: Row, number: int) -> Text:
        column, text = self._columns[number], row.cells[number]
        if number == next(iter(self._visible)) and self.has_marks:
            text = f"{MARK if row.key in self._marked else ' '} {text}"
        style = self._style(row.style)
        justify = "right" if column.is_number else "left"
        return Text(text, style=style, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]

    def _style(self, name: str) -> str:
        return f"{self.STYLES[name]} {colour(self.app, f'text-{name}') or colour(self.app, name)}".strip()

    def _draw_mark(self, key: str) -> None:
        if key in self._shown[self._first : self._drawn] and self._visible:
            number = next(iter(self._visible))
            self.rows.update_cell(key, self._columns[number].key, self._cell(self._rows[key], number))

    def _count(self) -> None:
        shown, of = len(self._shown), len(self._rows)
        if not of:
            text = self._empty
        elif shown == of:
            text = f"{of:,} rows" if of != 1 else "1 row"
        else:
            text = f"{shown:,} of {of:,} rows"
        marked = f" · {len(self._marked):,} marked" if self._marked else ""
        note = f" · {self._note}" if self._note else ""
        self.query_one("#count", Static).update(f"{text}{marked}{note}")
