"""Rows: a table of published measurements as typed values, with the units and metrics of each figure resolved.

Owns the reading of cells: numbers written by people ("1,024", "~12", "72-80"), units (GB, GiB, MiB; per GPU or per
system; per sample, token or step) and metrics of memory. It refuses to guess a metric that the row does not name: the
figure is then None and the caller says so. Any column may be missing, unknown ones are kept as text.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path

GIB = 2.0**30
MIB = 2.0**20
GB = 1e9
_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?")
_UNKNOWN = frozenset({"", "unknown", "unstated", "n/a", "na", "none", "null", "nan", "?", "-"})


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
class Rate:
    """A published speed."""

    value: float
    """In the row's own unit: amount a second, or seconds a step."""
    per: str
    """sample, token, step, micro-step: what is counted; seconds-step, seconds-micro-step: a duration."""
    whole_system: bool
    """Counted over all devices; False: per device."""


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
            reader = csv.DictReader(stream)
            if not reader.fieldnames:
                raise TableError(f"{path} has no header")
            rows = [
                {str(name).strip(): value or "" for name, value in cells.items() if isinstance(value, str | None)}
                for cells in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    return [Row(table=path.name, number=index, cells=cells) for index, cells in enumerate(rows, start=1)]


def number_in(cell: str) -> float | None:
    """The number of a cell; of a range ("72-80") the middle; None where there is none."""
    text = cell.strip().replace("\u2013", "-")
    found: list[str] = _NUMBER.findall(text)
    if not found:
        return None
    bounds = re.fullmatch(r"~?\s*(\d+\.?\d*)\s*-\s*(\d+\.?\d*)\s*\D*", text)
    if bounds:
        return (float(bounds[1]) + float(bounds[2])) / 2
    return float(found[0].replace(",", ""))


def memory_of(row: Row) -> Memory | None:
    """The row's peak of memory; None where it has none or does not say what was read."""
    value = row.value("peak_memory_gb")
    metric = memory_metric(row)
    if value is None or value <= 0 or metric is None:
        return None
    return Memory(value=value, unit_bytes=memory_unit_bytes(row, metric), metric=metric)


def memory_metric(row: Row) -> str | None:
    """What was read; None where the row does not name it."""
    words = " ".join((row.text("memory_metric"), row.text("peak_memory_unit"), row.text("notes")))
    if re.search(r"(nvidia|rocm)[-_ ]?smi|nvml|driver|\bsmi\b|device memory", words):
        return "device-idle" if re.search(r"minus idle|less idle|without idle|over idle", words) else "device"
    if re.search(r"reserved", words):
        return "reserved"
    if re.search(r"allocated|\balloc\b|max_memory|torch peak|peak active", words):
        return "allocated"
    return None


def memory_unit_bytes(row: Row, metric: str) -> float:
    """Bytes of one unit. A bare GB is 1e9 for torch's counters, 2^30 for nvidia-smi, whose MiB were divided."""
    unit = row.text("peak_memory_unit")
    if re.search(r"1e9|10\^9|decimal|1000", unit):
        return GB
    if re.search(r"gib|1024|2\^30|1<<30", unit):
        return GIB
    if re.search(r"\bmib\b", unit):
        return MIB
    if re.search(r"\bmb\b", unit):
        return 1e6
    return GB if metric == "allocated" else GIB


def rate_of(row: Row) -> Rate | None:
    """The row's speed: throughput before step time, because units are named there."""
    value, unit = row.value("throughput"), row.text("throughput_unit")
    if value is not None and value > 0:
        per = _counted(unit)
        if per is not None:
            return Rate(value=value, per=per, whole_system=_whole_system(unit))
    seconds = row.value("step_time_s")
    if seconds is not None and seconds > 0:
        micro = re.search(r"micro[- ]?batch (iteration|step)|per micro", row.everything) is not None
        return Rate(value=seconds, per="seconds-micro-step" if micro else "seconds-step", whole_system=True)
    return None


def _counted(unit: str) -> str | None:
    """What a unit of throughput counts."""
    for pattern, per in (
        (r"micro[- ]?batch|micro[- ]?step", "micro-step"),
        (r"tok", "token"),
        (r"sample|seq|sentence|quer|im(a)?g|item|example|utt|clip|frame|pair|row", "sample"),
        (r"step|iter|\bit/s|its/s|batch", "step"),
    ):
        if re.search(pattern, unit):
            return per
    return None


def _whole_system(unit: str) -> bool:
    """Per device only where the unit says so: trainers print the rate of the whole job."""
    return not re.search(r"(/|per )\s*(gpu|chip|device|card|accelerator|rank|hpu|tpu|core)", unit)
