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


_COLUMNS = frozenset(
    {"model", "method", "gpu", "seq_len", "micro_batch", "precision", "peak_memory_gb", "throughput", "step_time_s"}
)
"""A table of measurements has some of these; the rest may be missing."""


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
    has_stand_in_figures: bool = False
    """Whether its figures only ask for a prediction; nothing is judged by them."""

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
            columns = {_column(str(name)) for name in reader.fieldnames}
            if rows and not columns & _COLUMNS:
                raise TableError(f"{path} has none of the columns {', '.join(sorted(_COLUMNS))}")
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
    unit_bytes = memory_unit_bytes(row, metric)
    if unit_bytes is None:
        return None
    shared = row.devices if _is_sum(row) else 1
    return Memory(value=value, unit_bytes=unit_bytes / shared, metric=metric)


def memory_refusal(row: Row) -> str:
    """Why the row's peak of memory cannot be read; empty where it can, or where there is none."""
    value, metric = row.value("peak_memory_gb"), memory_metric(row)
    if value is None:
        return ""
    if value <= 0:
        return "peak of memory is not positive"
    if metric is None:
        return "what the memory figure counts is not stated"
    return "unit of memory not understood" if memory_unit_bytes(row, metric) is None else ""


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
    # torch renamed memory_cached to memory_reserved in 1.4 (torch.cuda.max_memory_cached).
    if re.search(r"reserved|memory[_ ]cached|cached[_ ](gpu |cuda )?memory", words):
        return "reserved"
    if re.search(r"(?<![a-z])alloc(ated)?(?![a-z])|max_mem|torch (cuda )?(max|peak)|memory_stats|peak active", words):
        return "allocated"
    return None


_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_UNIT_NAME = (
    r"(?:(?P<prefix>[kmgt])(?P<binary>i?)(?:bytes?|bs?)|(?P<bare>[mgt])(?P<bare_binary>i?)|"
    r"(?P<long>kilo|mega|giga|tera|kibi|mebi|gibi|tebi)[ -]?bytes?|bytes?|b)(?![a-z])"
)
_UNIT = re.compile(rf"(?<![a-z]){_UNIT_NAME}")
_UNIT_BESIDE = re.compile(rf"\d(?:k\s)?\s*(?:(?P<unit>{_UNIT_NAME})|%|percent)")
_DECIMAL = re.compile(r"1e[69]|10(\^|\*\*)[69]|decimal|\b1000\b")
_BINARY = re.compile(r"1024|2(\^|\*\*)[23]0|1<<[23]0|binary")
_DIVIDED = re.compile(
    r"\s*/\s*(?:(?P<giga>1024 ?(?:\^|\*\*) ?3|2 ?(?:\^|\*\*) ?30|1<<30)|"
    r"(?P<mega>1024 ?(?:\^|\*\*) ?2|2 ?(?:\^|\*\*) ?20|1<<20)|(?P<kilo>1024)|(?P<decimal>1e[369]|1000))(?![\d^*])"
)


def memory_unit_bytes(row: Row, metric: str) -> float | None:
    """Bytes of one unit; None where it is not understood.

    A bare GB is 1e9 for torch's counters, 2^30 for nvidia-smi, whose MiB were divided; without any unit the name
    of the column says GB.
    """
    # A unit beside the number is nearer to it than the column for units.
    beside = _UNIT_BESIDE.search(row.text("peak_memory_gb"))
    if beside and not beside["unit"]:
        return None
    unit = (beside["unit"] if beside else row.text("peak_memory_unit")) or "gb"
    found = _UNIT.search(unit)
    if found is None:
        # `1e9`, `1024^3` without a name.
        return GB if re.search(r"1e9|10\^9", unit) else GIB if re.search(r"1024\^3|2\^30|1<<30", unit) else None
    if re.search(r"%|percent|fraction|share", unit[: found.start()]):
        return None
    return _named_unit_bytes(unit, found, metric)


def _named_unit_bytes(unit: str, name: re.Match[str], metric: str) -> float:
    """Bytes of `GiB`, `MB (decimal)`, `MB/1024`, `bytes / 2^30`."""
    long = name["long"] or ""
    power = _PREFIXES[name["prefix"] or name["bare"] or long[:1]]
    divided = _DIVIDED.match(unit, name.end())
    if divided is not None:
        if divided["decimal"]:
            return 1000.0**power * float(divided["decimal"])
        return 1024.0 ** (power + (3 if divided["giga"] else 2 if divided["mega"] else 1))
    is_binary = bool(name["binary"] or name["bare_binary"]) or long.endswith("bi")
    if not is_binary and _DECIMAL.search(unit):
        return 1000.0**power
    if is_binary or _BINARY.search(unit):
        return 1024.0**power
    return (1000.0 if metric == "allocated" else 1024.0) ** power
