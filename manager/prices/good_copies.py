"""Price catalogs that have proved good: what makes a download believable, and the last good copy of each cloud.

SkyPilot writes whatever its source sent. Here a catalog is read and held against the one before it; a good one is
kept with its date, for the day when SkyPilot's own is damaged. It neither downloads nor decides which copy is read.

    <folder>/<cloud>/vms.csv    the catalog; its time is that of the download
    <folder>/<cloud>/vms.json   {"downloaded_at": ISO time, "source": ..., "sha256": ..., "rows": ...}
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from manager.errors import PriceError
from manager.prices.catalog_file import read_catalog_file
from manager.prices.price_rules import Audit

CATALOG_FILE = "vms.csv"
_FACTS_FILE = "vms.json"
_LEAST_SHARE_OF_ROWS = 0.5
"""A catalog that has lost more of its rows since the last time is not believed: a cut file, or another one."""
_LEAST_SHARE_PRICED = 0.5
"""The same for the share of rows with a price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogFacts:
    """What was counted in one catalog."""

    rows: int
    priced_rows: int
    """Rows with an on-demand or a spot price above 0."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodCopy:
    """The last good copy of one cloud's catalog."""

    cloud: str
    file: Path
    downloaded_at_s: float
    """Unix time in seconds."""
    source: str
    """Where it came from, for people."""
    facts: CatalogFacts


def examine_catalog(path: Path) -> CatalogFacts:
    """Count what is in a catalog.

    Raises:
        PriceError: it cannot be read, is cut, or holds no row or no price.
    """
    audit = Audit()
    catalog = read_catalog_file(path, audit)
    if audit.counts["unterminated_last_row"]:
        raise _damaged(path, "ends in the middle of a row")
    if not catalog.rows:
        raise _damaged(path, "has a header and no row")
    prices_of = catalog.cells("Price", "SpotPrice")
    priced = sum(any(_is_price(text) for text in prices_of(row)) for row in catalog.rows)
    if not priced:
        raise _damaged(path, f"has {len(catalog.rows):,} rows and not one price")
    return CatalogFacts(rows=len(catalog.rows), priced_rows=priced, sha256=_sha256(path))


def reason_to_doubt(new: CatalogFacts, old: CatalogFacts) -> str | None:
    """Why a catalog is not believed beside the one before it; None when it is."""
    if new.rows < old.rows * _LEAST_SHARE_OF_ROWS:
        return f"it has {new.rows:,} rows, the last one had {old.rows:,}"
    if new.priced_rows / new.rows < old.priced_rows / old.rows * _LEAST_SHARE_PRICED:
        return (
            f"{new.priced_rows:,} of its {new.rows:,} rows have a price, "
            f"in the last one {old.priced_rows:,} of {old.rows:,}"
        )
    return None


def keep_copy(
    source_file: Path, facts: CatalogFacts, *, folder: Path, cloud: str, downloaded_at_s: float, source: str
) -> GoodCopy:
    """Copy a catalog that was found good; whoever reads meanwhile sees the old or the new one.

    Raises:
        PriceError: the copy cannot be written.
    """
    place = folder / cloud
    record = {
        "downloaded_at": datetime.fromtimestamp(downloaded_at_s, UTC).isoformat(timespec="seconds"),
        "source": source,
        "sha256": facts.sha256,
        "rows": facts.rows,
        "priced_rows": facts.priced_rows,
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        _replace(place / CATALOG_FILE, source_file.read_bytes())
        os.utime(place / CATALOG_FILE, (downloaded_at_s, downloaded_at_s))
        _replace(place / _FACTS_FILE, json.dumps(record, indent=2).encode() + b"\n")
    except OSError as error:
        raise PriceError(f"no copy of {source_file} can be kept in {place}: {error}", hint="free some space") from error
    return GoodCopy(cloud=cloud, file=place / CATALOG_FILE, downloaded_at_s=downloaded_at_s, source=source, facts=facts)


def good_copy(folder: Path, cloud: str) -> GoodCopy | None:
    """The copy of one cloud; None when there is none, or it is not what was written any more."""
    file = folder / cloud / CATALOG_FILE
    try:
        record = json.loads((folder / cloud / _FACTS_FILE).read_text(encoding="utf-8"))
        downloaded_at_s = datetime.fromisoformat(record["downloaded_at"]).timestamp()
        facts = CatalogFacts(rows=record["rows"], priced_rows=record["priced_rows"], sha256=record["sha256"])
        if _sha256(file) != facts.sha256:
            return None
        return GoodCopy(
            cloud=cloud, file=file, downloaded_at_s=downloaded_at_s, source=str(record["source"]), facts=facts
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_price(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _replace(file: Path, content: bytes) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, file)


def _damaged(path: Path, what: str) -> PriceError:
    return PriceError(f"price catalog {path} {what}", hint="run `tunefare prices --refresh`")
