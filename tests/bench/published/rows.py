"""Rows: a table of published measurements as typed values, with the units and metrics of each figure resolved.

Owns the reading of cells: numbers written by people ("1,024", "~12", "72-80", "4k"), units and metrics of memory (GB,
GiB, MiB; per device or summed up); speeds are in `rates`. It refuses to guess a metric that the row does not name: the
figure is then None and the caller says so. Any column may be missing, unknown ones are kept as text.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path

COUNT_OF_DEVICES = re.compile(r"^(\d{1,4})\s*[x\u00d7*]\s*(?=[a-z])|\s[x\u00d7*]\s?(\d{1,4})\b")
"""In front of a device's name or behind it: 8xH100, RTX 4090 x2."""
GIB = 2.0**30
MIB = 2.0**20
GB = 1e9
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:[,_ '\u00a0\u202f]\d{3})+(?!\d)|\d+)(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_SEPARATORS = re.compile(r"[,_ '\u00a0\u202f]")
_THOUSANDS = re.compile(r"\s?[kK](?![a-zA-Z])")
_UNKNOWN = frozenset(
    {"", "unknown", "unstated", "n/a", "na", "none", "null", "nan", "?", "-", "\u2013", "\u2014", "tbd"}
)


class TableError(ValueError):
    """A table cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A published peak of memory on one device."""

    value: float
    """In the row's own unit."""
    unit_bytes: float
    metric: str
    """allocated, reserved (torch's counters), device (what nvidia-smi shows), device-idle (the same less what it showed
    before the run)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row."""

    table: str
    """Name of the file."""
    number: int
    """Counted from 1, for rows without an id."""
    cells: dict[str, str] = field(repr=False)

    def text(self, *columns: str) -> str:
        """The first filled cell of these columns, lower case, spaces folded; empty where all say nothing."""
        for column in columns:
            cell = " ".join(self.cells.get(column, "").split())
            if cell.casefold() not in _UNKNOWN:
                return cell.casefold()
        return ""

    def raw(self, column: str) -> str:
        """A cell as it is written."""
        return self.cells.get(column, "").strip()

    def value(self, *columns: str) -> float | None:
        """The first number in these columns."""
        for column in columns:
            number = number_in(self.cells.get(column, ""))
            if number is not None:
                return number
        return None

    @property
    def key(self) -> str:
        """The row's id."""
        return self.raw("id") or f"{Path(self.table).stem}-{self.number}"

    @property
    def source(self) -> str:
        """Who published it: rows of one source share hardware and code."""
        return self.raw("source") or Path(self.table).stem

    @property
    def device(self) -> str:
        """The accelerator as it is written, in lower case."""
        return self.text("gpu", "accelerator", "device", "hardware")

    @property
    def devices(self) -> int:
        """Devices of the job, from their column or from the device's name ("4x A10G"); 1 where neither says it."""
        stated = self.value("n_gpus", "num_gpus", "gpus")
        if stated is not None:
            return max(1, int(stated))
        found = COUNT_OF_DEVICES.search(self.device)
        return int(found[1] or found[2]) if found else 1

    @property
    def everything(self) -> str:
        """All text of the row, for words that may stand anywhere."""
        return " ; ".join(f"{name}={value}" for name, value in self.cells.items() if value).casefold()


def read_table(path: Path) -> list[Row]:
    """All rows of a CSV file with a header.

    Raises:
        TableError: no such file, not text, or no header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=max(",;\t", key=header.count))
            if not reader.fieldnames:
                raise TableError(f"{path} has no header")
            rows = [
                {_column(str(name)): value or "" for name, value in cells.items() if isinstance(value, str | None)}
                for cells in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise TableError(f"{path} has no rows")
    return [Row(table=path.name, number=index, cells=cells) for index, cells in enumerate(rows, start=1)]


def _column(name: str) -> str:
    """`Seq Len` and `seq_len` are one column."""
    return "_".join(name.strip().casefold().split())


def number_in(cell: str, *, thousand: float = 1000.0) -> float | None:
    """The number of a cell; of a range ("72-80") the middle; None where there is none.

    Args:
        cell: as it is written.
        thousand: what a `k` behind the number means; 1024 where lengths are counted.
    """
    text = cell.strip().replace("\u2013", "-")
    bounds = re.fullmatch(r"~?\s*(\d+\.?\d*)\s*-\s*(\d+\.?\d*)\s*\D*", text)
    if bounds:
        return (float(bounds[1]) + float(bounds[2])) / 2
    found = _NUMBER.search(text)
    if found is None:
        return None
    scale = thousand if _THOUSANDS.match(text, found.end()) else 1.0
    return float(_SEPARATORS.sub("", found[0])) * scale


def memory_of(row: Row) -> Memory | None:
    """The row's peak of memory; None where it has none or does not say what was read."""
    value = row.value("peak_memory_gb")
    metric = memory_metric(row)
    if value is None or value <= 0 or metric is None:
        return None
    shared = row.devices if _is_sum(row) else 1
    return Memory(value=value, unit_bytes=memory_unit_bytes(row, metric) / shared, metric=metric)


def _is_sum(row: Row) -> bool:
    """Whether the figure is that of all devices together."""
    words = f"{row.text('memory_metric')} {row.text('peak_memory_unit')}"
    return (
        re.search(r"\b(sum|summed|total)\b.*\b(over|across|of|all)\b.*\b(gpus|devices|ranks|cards)\b", words)
        is not None
    )


def memory_metric(row: Row) -> str | None:
    """What was read; None where the row does not name it."""
    named = f"{row.text('memory_metric')} {row.text('peak_memory_unit')}"
    return _metric_in(named) or _metric_in(row.text("notes"))


def _metric_in(words: str) -> str | None:
    if re.search(r"(nvidia|rocm|amd)[-_ ]?smi|nvml|driver|\bsmi\b|device memory|nvtop|gpustat|wandb", words):
        return "device-idle" if re.search(r"minus idle|less idle|without idle|over idle", words) else "device"
    if re.search(r"reserved", words):
        return "reserved"
    if re.search(r"(?<![a-z])alloc(ated)?(?![a-z])|max_mem|torch (cuda )?(max|peak)|memory_stats|peak active", words):
        return "allocated"
    return None


def memory_unit_bytes(row: Row, metric: str) -> float:
    """Bytes of one unit. A bare GB is 1e9 for torch's counters, 2^30 for nvidia-smi, whose MiB were divided."""
    # A unit beside the number is nearer to it than the column for units.
    beside = re.search(r"\d\s*([kmg]i?b)\b", row.text("peak_memory_gb"))
    unit = beside[1] if beside else row.text("peak_memory_unit")
    if re.search(r"1e9|10\^9|decimal|1000", unit):
        return GB
    if re.search(r"gib|1024|2\^30|1<<30", unit):
        return GIB
    if re.search(r"\bmib\b", unit):
        return MIB
    if re.search(r"\bmb\b", unit):
        return 1e6 if metric == "allocated" else MIB
    return GB if metric == "allocated" else GIB
