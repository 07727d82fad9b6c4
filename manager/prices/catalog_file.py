"""One `vms.csv` of SkyPilot's catalogs as rows of text: schema checked, damage found, nothing interpreted.

Reads with the csv module: SkyPilot itself would take seconds to import, pandas half a second. Which columns a catalog
has differs by cloud and by year; the required ones are those without which SkyPilot's own reader stops, any other
column is passed over. Text is UTF-8 whatever the locale says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from manager.errors import PriceError
from manager.prices.price_rules import Audit

Cells = tuple[str, ...]

_REQUIRED = (
    "InstanceType",
    "AcceleratorName",
    "AcceleratorCount",
    "vCPUs",
    "MemoryGiB",
    "Price",
    "SpotPrice",
    "Region",
)
_OPTIONAL = ("AvailabilityZone", "Arch", "GpuInfo", "HostingType")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogFile:
    """The rows of one file."""

    path: Path
    rows: Sequence[Sequence[str]]
    """As long as the header, and one empty cell more where the file has not all optional columns."""
    columns: dict[str, int]
    """Position of each column that this package uses; optional ones may point at the empty cell."""

    def cells(self, *columns: str) -> Callable[[Sequence[str]], Cells]:
        """A fast function from a row to the cells of these columns (two or more)."""
        getter: Callable[[Sequence[str]], Cells] = itemgetter(*(self.columns[column] for column in columns))
        return getter


def read_catalog_file(path: Path, audit: Audit) -> CatalogFile:
    """Read and check one file.

    Raises:
        PriceError: it cannot be read, a column is missing or stands twice, or a row is cut; the message names file and
            column or line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError(f"price catalog {path} cannot be read: {error}", hint=_hint(path)) from error
    rows = split_simple(text)
    if rows is None:
        rows = _split(path, text)
    if not rows:
        raise PriceError(f"price catalog {path} is empty", hint=_hint(path))
    header = rows.pop(0)
    columns = _columns(path, header)
    if rows and not text.endswith(("\n", "\r")):
        rows.pop()
        audit.note("unterminated_last_row")
    _check_widths(path, rows, len(header))
    if len(header) in columns.values():
        for row in rows:
            row.append("")
    return CatalogFile(path=path, rows=rows, columns=columns)


def split_simple(text: str) -> list[list[str]] | None:
    """The cells of each line that is not empty, as the csv module gives them, in half of its time; None where only the
    module can tell.

    Most lines of a catalog have no quote, or one quoted cell in their middle.
    """
    if "\r" in text or "\0" in text:
        return None
    try:
        return [line.split(",") if '"' not in line else _quoted_cells(line) for line in text.split("\n") if line]
    except csv.Error:
        return None


def _quoted_cells(line: str) -> list[str]:
    head, _, rest = line.partition(',"')
    quoted, closed, tail = rest.partition('",')
    if not closed or '"' in head or '"' in quoted or '"' in tail:
        return next(csv.reader([line], strict=True))
    return [*head.split(","), quoted, *tail.split(",")]


def _split(path: Path, text: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise PriceError(f"price catalog {path}, line {reader.line_num}: {error}", hint=_hint(path)) from error


def _check_widths(path: Path, rows: list[list[str]], width: int) -> None:
    if set(map(len, rows)) <= {width}:
        return
    number, row = next((number, row) for number, row in enumerate(rows) if len(row) != width)
    raise PriceError(
        f"price catalog {path}, row {number + 1}: {len(row)} cells, the header has {width}", hint=_hint(path)
    )


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    for name in _REQUIRED:
        if name not in header:
            raise PriceError(f"price catalog {path} has no column '{name}'", hint=_hint(path))
    for name in (*_REQUIRED, *_OPTIONAL):
        if header.count(name) > 1:
            raise PriceError(f"price catalog {path} has the column '{name}' twice", hint=_hint(path))
    positions = {name: position for position, name in enumerate(header)}
    absent = len(header)
    return {name: positions.get(name, absent) for name in (*_REQUIRED, *_OPTIONAL)}


def _hint(path: Path) -> str:
    return f"delete {path.name} in {path.parent}: SkyPilot downloads it again when it is next used"
