"""Tables out of text: what a cell is, and that pandas would have read the same."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.formats import Table, csv_table, json_lines_table, json_table, one_below_the_other, parquet_table, table_of

CELLS = st.lists(st.sampled_from(["x", " ", '"', '""', "\n", "\r\n", ",", "é", "007", "NA"]), max_size=4).map("".join)


def columns_of(table: Table) -> dict[str, list[Any]]:
    return {name: table[name] for name in table.columns}


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6), ending=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_csv_is_read_as_pandas_reads_it(rows: list[tuple[str, str]], ending: str) -> None:
    text = ending.join(["a,b", *(",".join(map(quoted, row)) for row in rows)]) + ending
    frame = pd.read_csv(StringIO(text), dtype=object, keep_default_na=False, na_values=[""])
    expected = {str(name): [None if pd.isna(cell) else cell for cell in frame[name]] for name in frame.columns}
    assert columns_of(csv_table(text, ",")) == expected


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ('a,b\n"x"y"z",1\n', {"a": ['xy"z"'], "b": ["1"]}),
        ("a,b\n  x,y\n", {"a": ["  x"], "b": ["y"]}),
        ("a,b\n1\n\n \n2,\n", {"a": ["1", "2"], "b": [None, None]}),
        ("\n a,b\r1,2", {" a": ["1"], "b": ["2"]}),
        ("a,a,,\n1,2,3,4\n", {"a": ["1"], "a.1": ["2"], "Unnamed: 2": ["3"], "Unnamed: 3": ["4"]}),
        ("a,b\n", {"a": [], "b": []}),
        (" \n", {}),
    ],
)
def test_odd_csv_files(text: str, columns: dict[str, list[str | None]]) -> None:
    assert columns_of(csv_table(text, ",")) == columns


def test_a_cell_may_be_long() -> None:
    assert len(csv_table("a\n" + "x" * 200_000, ",")["a"][0]) == 200_000


def test_a_row_that_is_too_long_is_refused_and_does_not_shift_columns() -> None:
    with pytest.raises(ValueError, match="line 3 has 3 cells, the header 2"):
        csv_table('a,b\n"1\n1",2,3\n', ",")


def test_objects_may_lack_keys() -> None:
    table = json_lines_table('{"a": 1}\n\n{"b": [2]}\n{}\n')
    assert (len(table), columns_of(table)) == (3, {"a": [1, None, None], "b": [None, [2], None]})
    assert len(json_table("[{}, {}]")) == 2


def test_tables_with_other_columns_are_joined() -> None:
    joined = one_below_the_other([table_of({"a": [1]}), table_of({"b": [2, 3]})])
    assert (len(joined), columns_of(joined)) == (3, {"a": [1, None, None], "b": [None, 2, 3]})


def test_parquet_without_the_row_numbers_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [[{"role": "user"}], None], "b": [1.0, None]}, index=[7, 9])
    frame.to_parquet(tmp_path / "x.parquet")
    table = parquet_table(tmp_path / "x.parquet")
    assert columns_of(table) == {"a": [[{"role": "user"}], None], "b": [1.0, None]}
