"""One data file into a table: CSV, TSV, JSON, JSON lines, Parquet. Knows nothing of folders, splits, labels.

Text formats are read with the standard library and Parquet with Arrow: a plan measures its data in a process of its
own, of which pandas would be the larger part.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

from tasks.bounds import check_bytes, most_bytes
from tasks.failures import TaskError
from tasks.protocol import FailureCode

Cells = list[Any]

_LARGEST_FIELD = 2**31 - 1
_BATCH_ROWS = 4096
_END = "\0end of the table\0"
_PANDAS_INDEX = "__index_level_"
"""How pandas begins the name of the column that it stores row numbers in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Named columns of equal length."""

    rows: int
    cells: Mapping[str, Callable[[], Cells]]
    """What makes the cells of a column, by its name, in the order of the columns. None is a missing cell."""

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, column: str) -> Cells:
        return self.cells[column]()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.cells)


def table_of(columns: Mapping[str, Cells]) -> Table:
    """A table of cells that are at hand."""
    rows = len(next(iter(columns.values()))) if columns else 0
    return Table(rows=rows, cells={name: partial(_same, cells) for name, cells in columns.items()})


def one_below_the_other(tables: Sequence[Table]) -> Table:
    """Tables as one; a column that some of them lack is missing in their rows."""
    if len(tables) == 1:
        return tables[0]
    names = dict.fromkeys(name for table in tables for name in table.columns)
    return Table(rows=sum(map(len, tables)), cells={name: partial(_stacked, tables, name) for name in names})


def csv_table(text: str, delimiter: str) -> Table:
    """Rows below a header. All cells are text, empty ones missing, as are those that a short row lacks.

    Raises:
        ValueError: a row is longer than the header, or a quoted cell never ends.
        csv.Error: as the csv module finds.
    """
    csv.field_size_limit(_LARGEST_FIELD)
    rows = _csv_rows(text, delimiter)
    header = next(rows, (0, []))[1]
    names: dict[str, int] = {}
    for at, name in enumerate(header):
        names.setdefault(_free_name(name or f"Unnamed: {at}", names), at)
    body: list[list[str]] = []
    for line, row in rows:
        if len(row) > len(header):
            raise ValueError(f"line {line} has {len(row)} cells, the header {len(header)}")
        body.append(row)
    columns = {name: [(row[at] or None) if at < len(row) else None for row in body] for name, at in names.items()}
    return table_of(columns)


def json_table(text: str) -> Table:
    """A list of objects, which may stand under `data`.

    Raises:
        ValueError: it is none.
    """
    records = json.loads(text) if text.strip() else []
    if isinstance(records, dict) and isinstance(records.get("data"), list):
        records = records["data"]
    if not isinstance(records, list):
        raise ValueError("a .json file must hold a list of objects, or an object with such a list under `data`")
    return _table_of_records(records)


def json_lines_table(text: str) -> Table:
    """An object a line; blank lines are passed over.

    Raises:
        ValueError: a line holds something else.
    """
    records: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return _table_of_records(records)


def parquet_table(path: Path) -> Table:
    """A Parquet file. Cells of a column become objects when they are asked for: few of many columns may be wanted.

    Raises:
        ValueError, OSError: it cannot be read.
        TaskError: data_invalid: it unpacks to more than this machine should hold.
    """
    table = _bounded_arrow_table(path)
    labels = _class_names(table.schema.metadata or {})
    names = [name for name in table.column_names if not name.startswith(_PANDAS_INDEX)]
    return Table(
        rows=table.num_rows,
        cells={name: partial(_arrow_cells, table.column(name), labels.get(name), path.name) for name in names},
    )


def _bounded_arrow_table(path: Path) -> Any:
    # Arrow takes longer to load than a small text file takes to read.
    import pyarrow
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        check_bytes(path.name, sum(group.total_byte_size for group in groups))
        # A page says how long it is, not how long the values are that it repeats.
        most, batches, count = most_bytes(), [], 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            batches.append(batch)
            count += batch.nbytes
            if count > most:
                check_bytes(path.name, count)
        return pyarrow.Table.from_batches(batches, schema=file.schema_arrow)


def _same(cells: Cells) -> Cells:
    return cells


def _stacked(tables: Sequence[Table], column: str) -> Cells:
    parts = (table[column] if column in table.cells else [None] * len(table) for table in tables)
    return list(chain.from_iterable(parts))


def _csv_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their last line; blank lines are passed over."""
    # The csv module takes the end of the file for the end of a quoted cell: then our last row would be part of it.
    reader = csv.reader(chain(StringIO(text, newline=""), [_END]), delimiter=delimiter)
    last: list[str] = []
    for last in reader:
        if last == [_END]:
            return
        if last and (len(last) > 1 or last[0].strip(" \t")):
            yield reader.line_num, last
    raise ValueError("a quoted cell never ends")


def _free_name(name: str, taken: Mapping[str, int]) -> str:
    """A column's name; further ones of the same name get a number, so that the first keeps it."""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free


def _table_of_records(records: list[Any]) -> Table:
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"record {number} is no JSON object")
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return Table(rows=len(records), cells={name: partial(_same, cells) for name, cells in columns.items()})


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of ClassLabel columns, which `datasets` stores in the file's metadata."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    }


def _arrow_cells(column: Any, labels: list[str] | None, file: str) -> Cells:
    import pyarrow

    try:
        if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            # Python's own times end at microseconds.
            column = column.cast(pyarrow.timestamp("us", tz=column.type.tz), safe=False)
        cells: Cells = column.to_pylist()
    except (ValueError, OverflowError) as error:
        raise TaskError(FailureCode.DATA_INVALID, f"{file} cannot be read: {str(error).strip()[:300]}") from error
    return cells if labels is None else [_class_name(cell, labels) for cell in cells]


def _class_name(cell: Any, names: list[str]) -> str | None:
    return None if cell is None or not 0 <= int(cell) < len(names) else names[int(cell)]
