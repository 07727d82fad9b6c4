"""The table of many rows: filter, marks, sort, columns that give way, rows that come when they are needed."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Input
from textual.widgets.data_table import ColumnKey

from tui.widgets.columns import layout
from tui.widgets.table import MARK, Column, Row, RowTable

COLUMNS = (
    Column(key="name", title="name"),
    Column(key="cloud", title="cloud", cut=2),
    Column(key="note", title="note", cut=1),
    Column(key="usd", title="$ to finish", is_number=True),
)


def rows(number: int) -> list[Row]:
    clouds = ("aws", "gcp")
    return [
        Row(
            key=f"k{one}",
            cells=(f"offer {one}", clouds[one % 2], "a note of some length", f"${one}.00"),
            sort=(f"offer {one}", clouds[one % 2], "", None if one == 3 else -one),
        )
        for one in range(number)
    ]


class Stage(App[None]):
    """One table, and what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[object] = []

    def compose(self) -> ComposeResult:
        yield RowTable(COLUMNS, empty="no offers")

    @property
    def table(self) -> RowTable:
        return self.query_one(RowTable)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        self.heard.append(event.key)

    def on_row_table_marks_changed(self, event: RowTable.MarksChanged) -> None:
        self.heard.append(event.keys)


async def test_an_empty_table_says_so() -> None:
    async with Stage().run_test() as pilot:
        assert isinstance(pilot.app, Stage)
        pilot.app.table.show([])
        await pilot.pause()
        assert pilot.app.table.cursor_key is None
        assert "no offers" in str(pilot.app.table.query_one("#count").render())


async def test_marks_follow_their_keys_and_the_cursor_goes_on() -> None:
    async with Stage().run_test() as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        app.table.show(rows(5))
        app.table.rows.focus()
        await pilot.press("j", "space", "space", "k", "k", "space", "enter")
        await pilot.pause()
        assert app.table.marked == ("k2",)
        assert app.heard == [("k1",), ("k1", "k2"), ("k2",), "k2"]
        app.table.show(rows(3)[::-1])
        await pilot.pause()
        assert "k2" in app.table.marked
        assert str(app.table.rows.get_cell("k2", "name")).startswith(MARK)


async def test_words_of_the_filter_must_all_be_there() -> None:
    async with Stage().run_test() as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        app.table.show(rows(20))
        app.table.rows.focus()
        await pilot.press("slash", *"gcp 3")
        await pilot.pause()
        assert app.table.shown_keys == ("k3", "k13")
        await pilot.press("enter")
        assert app.focused is app.table.rows
        await pilot.press("escape")
        await pilot.pause()
        assert len(app.table.shown_keys) == 20
        assert app.table.query_one("#filter", Input).disabled


async def test_sorting_goes_through_columns_and_unknown_comes_last() -> None:
    async with Stage().run_test(size=(120, 20)) as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        app.table.show(rows(5))
        app.table.rows.focus()
        await pilot.press(*["s"] * 7)
        await pilot.pause()
        assert app.table.shown_keys == ("k4", "k2", "k1", "k0", "k3")
        await pilot.press("s")
        await pilot.pause()
        assert app.table.shown_keys == ("k0", "k1", "k2", "k4", "k3")
        await pilot.press("s")
        await pilot.pause()
        assert app.table.shown_keys == ("k0", "k1", "k2", "k3", "k4")


async def test_first_rows_stay_on_top_however_sorted() -> None:
    async with Stage().run_test(size=(120, 20)) as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        loud = Row(key="loud", cells=("zz", "aws", "", "$9"), sort=("zz", "aws", "", 9), is_first=True, style="error")
        app.table.show([*rows(5), loud])
        for _ in range(4):
            assert app.table.shown_keys[0] == "loud"
            app.table.sort_next()


@pytest.mark.parametrize(("width", "columns"), [(120, 4), (40, 2), (20, 2)])
async def test_money_is_the_last_column_to_be_cut(width: int, columns: int) -> None:
    async with Stage().run_test(size=(width, 20)) as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        app.table.show(rows(5))
        await pilot.pause()
        keys = [str(key.value) for key in app.table.rows.columns]
        assert len(keys) == columns
        assert keys[-1] == "usd"


async def test_far_rows_come_with_the_cursor() -> None:
    async with Stage().run_test() as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        app.table.show(rows(3000))
        app.table.rows.focus()
        await pilot.pause()
        assert app.table.rows.row_count == 500
        await pilot.press("G")
        await pilot.pause()
        assert app.table.cursor_key == "k2999"
        assert app.table.rows.row_count <= 500, "rows that nobody sees are not drawn"
        for above in range(2998, 2830, -1):
            app.table.rows.action_cursor_up()
            await pilot.pause()
            assert app.table.cursor_key == f"k{above}"
        app.table.show(rows(3000)[:2900])
        await pilot.pause()
        assert app.table.cursor_key == "k2831"
        await pilot.press("g", "enter")
        await pilot.pause()
        assert app.heard[-1] == "k0"
        app.table.rows.move_cursor(row=398)
        for below in range(399, 405):
            app.table.rows.action_cursor_down()
            await pilot.pause()
            assert app.table.cursor_key == f"k{below}"
        assert app.table.rows.row_count > 500


async def test_a_row_changes_in_its_place() -> None:
    async with Stage().run_test() as pilot:
        app = pilot.app
        assert isinstance(app, Stage)
        app.table.show(rows(5))
        changed = Row(key="k2", cells=("offer 2", "aws", "new", "$7.77"), sort=("offer 2", "aws", "", 7))
        app.table.update_row(changed)
        await pilot.pause()
        assert str(app.table.rows.get_cell("k2", "usd")) == "$7.77"
        dear = Row(key="k2", cells=("offer 2", "aws", "new", "$123,456,789.77"), sort=("offer 2", "aws", "", 8))
        app.table.update_row(dear)
        await pilot.pause()
        assert app.table.rows.columns[ColumnKey("usd")].width >= len("$123,456,789.77"), (
            "money is not cut when it grows"
        )
        with pytest.raises(KeyError):
            app.table.update_row(Row(key="no", cells=("", "", "", ""), sort=("", "", "", 0)))


def test_a_column_that_can_gives_way_before_another_is_left_out() -> None:
    columns = (
        Column(key="usd", title="$"),
        Column(key="note", title="note", cut=1),
        Column(key="name", title="name", least=6),
    )
    assert layout(columns, (5, 10, 20), 50) == {0: 5, 1: 10, 2: 20}
    assert layout(columns, (5, 10, 20), 32) == {0: 5, 1: 10, 2: 9}
    assert layout(columns, (5, 10, 20), 27) == {0: 5, 1: 10, 2: 6}
    assert layout(columns, (5, 10, 20), 26) == {0: 5, 2: 15}
    assert layout(columns, (5, 10, 20), 4) == {0: 5, 2: 6}
