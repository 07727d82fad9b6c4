"""Offers from the price catalogs that SkyPilot keeps on this machine, without importing SkyPilot.

Owns the walk over the clouds, the age of the prices and what is said about them. A cloud whose file is damaged is left
out with a note, unless a good copy of it was kept.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from manager.errors import PriceError
from manager.prices.catalog_file import read_catalog_file
from manager.prices.gcp_catalog import gcp_machines
from manager.prices.good_copies import GoodCopy, good_copy
from manager.prices.list_prices import known_counts
from manager.prices.machines import Origin, priced_machines, rentals_of
from manager.prices.market import Market, Rental
from manager.prices.parsed_cache import ParsedCatalog, entry_of, keep, kept
from manager.prices.plain_catalog import plain_machines
from manager.prices.price_rules import RULES, Audit, RuleCount
from manager.units import format_duration

CATALOG_VERSION = "v8"
"""Schema of SkyPilot 0.14's catalogs."""
_FILE = "vms.csv"
_COMMON = "common"
_WORTH_A_NOTE = (
    "accelerator_missing",
    "count_corrected",
    "implausible_accelerator_count",
    "several_prices",
    "several_cards",
    "card_not_known",
    "region_missing",
    "no_known_host",
    "unterminated_last_row",
)


def default_catalog_dir(home: Path) -> Path:
    """Where SkyPilot 0.14 keeps its catalogs, below the user's home folder."""
    return home / ".sky" / "catalogs" / CATALOG_VERSION


def has_catalogs(directory: Path) -> bool:
    """Whether the folder holds a catalog of at least one cloud."""
    return bool(_catalog_paths(directory))


def read_catalogs(
    directory: Path, *, now_s: float, good_copies: Path | None = None, cache: Path | None = None
) -> Market:
    """All rentals of all clouds of a folder `<directory>/<cloud>/vms.csv`.

    Args:
        directory: folder in SkyPilot's layout, such as `~/.sky/catalogs/v8`.
        now_s: Unix time in seconds, for the age of the prices.
        good_copies: folder of `good_copies`, for clouds whose catalog is damaged; None: there is none.
        cache: folder where parsed catalogs are kept; None: each is read anew.

    Raises:
        PriceError: the folder is missing, holds no catalog, or none of its catalogs can be read.
    """
    paths = _catalog_paths(directory)
    if not paths:
        raise _no_catalogs(directory)
    rentals: list[Rental] = []
    notes: list[str] = []
    audit: list[RuleCount] = []
    ages: list[float | None] = []
    failures: list[PriceError] = []
    with _no_collections():
        for path in paths:
            try:
                origin = _origin(path, directory, now_s)
                catalog = _parsed(path, origin.cloud, cache, now_s)
            except PriceError as error:
                copy = None if good_copies is None else good_copy(good_copies, path.parent.name)
                if copy is None:
                    failures.append(error)
                    notes.append(f"{path.parent.name} left out: {error.message} ({error.hint})")
                    continue
                origin = _origin_of_copy(copy, directory, now_s)
                catalog = _parsed(copy.file, origin.cloud, cache, now_s)
                notes.append(_copy_note(origin, error))
            rentals.extend(rentals_of(catalog.machines, origin))
            ages.append(origin.price_age_s)
            fired = sorted(catalog.counts.items())
            audit.extend(RuleCount(cloud=origin.cloud, rule=rule, count=count) for rule, count in fired)
            notes.extend(_rule_notes(origin.cloud, catalog.counts))
            notes.extend(_contract_notes(path))
    if not ages:
        raise failures[0]
    notes.insert(0, _summary(directory, len(ages), ages))
    return Market(rentals=tuple(rentals), notes=tuple(notes), audit=tuple(audit))


@contextmanager
def _no_collections() -> Iterator[None]:
    """No garbage is looked for meanwhile: a catalog is a million small objects, none of them garbage, and looking
    through them again and again would take half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _no_catalogs(directory: Path) -> PriceError:
    layout = "give a folder in the layout of ~/.sky/catalogs/v8, which has a <cloud>/vms.csv for each cloud"
    if directory.is_file():
        above = directory.absolute().parent.parent
        hint = f"{layout}; this file's is {above}" if directory.name == _FILE else layout
        return PriceError(f"{directory} is a file, where a folder of price catalogs is meant", hint=hint)
    what = "has no price catalog (<cloud>/vms.csv)" if directory.is_dir() else "does not exist"
    return PriceError(f"catalog folder {directory} {what}", hint=layout)


def _catalog_paths(directory: Path) -> list[Path]:
    found = sorted(directory.glob(f"*/{_FILE}"))
    return [path for path in found if path.parent.name != _COMMON and not path.parent.name.startswith(".")]


def _parsed(path: Path, cloud: str, cache: Path | None, now_s: float) -> ParsedCatalog:
    entry = None if cache is None else entry_of(path, cache, now_s=now_s)
    known = None if entry is None else kept(entry)
    if known is not None:
        return known
    audit = Audit()
    catalog = read_catalog_file(path, audit)
    if cloud == "gcp":
        machines = gcp_machines(catalog, audit)
    else:
        machines = plain_machines(cloud, catalog, audit, known_counts(cloud))
    parsed = ParsedCatalog(machines=tuple(priced_machines(machines, audit)), counts=dict(audit.counts))
    if entry is not None:
        keep(entry, parsed)
    return parsed


def _origin(path: Path, directory: Path, now_s: float) -> Origin:
    cloud = path.parent.name.lower()
    return Origin(
        cloud=cloud,
        price_source=f"SkyPilot catalog {directory.name}/{cloud}",
        price_age_s=_age_s(path, directory, now_s),
    )


def _origin_of_copy(copy: GoodCopy, directory: Path, now_s: float) -> Origin:
    age_s = now_s - copy.downloaded_at_s
    return Origin(
        cloud=copy.cloud,
        price_source=f"kept copy of SkyPilot catalog {directory.name}/{copy.cloud}",
        price_age_s=age_s if age_s >= 0 else None,
    )


def _copy_note(origin: Origin, error: PriceError) -> str:
    age = "of unknown age" if origin.price_age_s is None else f"downloaded {format_duration(origin.price_age_s)} ago"
    return f"{origin.cloud}: {error.message}; the last good copy of it is used, {age}"


def download_time_s(path: Path, directory: Path) -> float | None:
    """Unix time at which a catalog of a folder was downloaded; None when there is none.

    SkyPilot sets a catalog's time to now even when a refresh failed, but writes the checksum under `.meta` only after a
    real download: the older of both is the honest one.

    Raises:
        PriceError: the files cannot be asked.
    """
    times = []
    for file in (path, directory / ".meta" / path.parent.name / f"{_FILE}.md5"):
        try:
            times.append(file.stat().st_mtime)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PriceError(f"price catalog {file} cannot be read: {error}", hint="check its permissions") from error
    return min(times, default=None)


def _age_s(path: Path, directory: Path, now_s: float) -> float | None:
    """Seconds since the catalog was downloaded; None when that lies in the future or cannot be asked."""
    at_s = download_time_s(path, directory)
    return None if at_s is None or at_s > now_s else now_s - at_s


def _rule_notes(cloud: str, counts: Mapping[str, int]) -> list[str]:
    found = [(rule, counts[rule]) for rule in _WORTH_A_NOTE if counts.get(rule)]
    return [f"{cloud}: {RULES[rule]} ({count:,} row{'' if count == 1 else 's'})" for rule, count in found]


def _contract_notes(path: Path) -> list[str]:
    """Nebius: SkyPilot asks for the prices of the user's own contract and keeps them beside the list prices."""
    contracts = sorted(file.name for file in path.parent.glob(f"{path.stem}_*{path.suffix}"))
    if not contracts:
        return []
    return [f"{path.parent.name}: prices of your contract ({', '.join(contracts)}) are not read; list prices are shown"]


def _summary(directory: Path, clouds: int, ages: list[float | None]) -> str:
    known = [age for age in ages if age is not None]
    ends = dict.fromkeys(format_duration(end) for end in (min(known), max(known))) if known else {}
    age = f"downloaded {' to '.join(ends)} ago" if ends else "of unknown age"
    return f"prices of {clouds} clouds from SkyPilot's catalogs in {directory}, {age}"
