"""All that a plan may choose from: catalogs or the shipped table, Slurm and Kubernetes pools, this machine.

Owns the order of the sources and says which was used. Which offers the user wants is for the planner to decide.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from manager.prices.kubernetes import KUBERNETES, current_context, kubernetes_pools
from manager.prices.list_prices import list_price_offers, oldest_list_price
from manager.prices.local import LocalDevice, local_offer
from manager.prices.market import Market
from manager.prices.sky_catalog import default_catalog_dir, has_catalogs, read_catalogs
from manager.prices.sky_config import PoolReading, load_sky_config, sky_config_path
from manager.prices.slurm import slurm_pools

FileMark = tuple[str, int, int]


def gather_market(
    *,
    catalogs: Path | None,
    home: Path,
    now_s: float,
    good_copies: Path | None = None,
    parsed: Path | None = None,
    local: LocalDevice | None = None,
    local_price_usd_per_hour: Decimal | None = None,
    local_price_source: str = "setting local_price_usd_per_hour",
) -> Market:
    """Everything that is known on this machine to be for rent, offline.

    Prices of clouds come from `catalogs` when it is given; else from SkyPilot's own folder below `home`, or the good
    copies of it; else from the shipped list prices, with a note.

    Args:
        catalogs: folder in the layout of SkyPilot's catalogs, or None.
        home: the user's home folder (where `.sky` lies).
        now_s: Unix time in seconds, for the age of the prices.
        good_copies: folder of the copies that a refresh has kept, or None.
        parsed: folder where catalogs are kept parsed, made when missing; None: they are read anew each time.
        local: this machine, or None to leave it out.
        local_price_usd_per_hour: dollars per hour of this machine; None is unknown.
        local_price_source: where that price comes from, for people.

    Raises:
        PriceError: `catalogs` or SkyPilot's configuration cannot be read.
    """
    cloud = _cloud_market(catalogs, home, now_s, good_copies, parsed)
    slurm, kubernetes = _pools(home, now_s)
    here = () if local is None else (local_offer(local, local_price_usd_per_hour, price_source=local_price_source),)
    own = Market.of_offers((*here, *slurm.offers, *kubernetes.offers))
    return Market(
        rentals=(*own.rentals, *cloud.rentals), notes=(*cloud.notes, *slurm.notes, *kubernetes.notes), audit=cloud.audit
    )


def market_mark(*, catalogs: Path | None, home: Path, good_copies: Path | None = None) -> tuple[FileMark, ...]:
    """What changes when a file does from which `gather_market` would read; arguments as there."""
    folders = [catalogs] if catalogs is not None else [default_catalog_dir(home), good_copies]
    files = [file for folder in folders if folder is not None for file in sorted(folder.glob("*/*.csv"))]
    return tuple(mark for file in (*files, sky_config_path(home)) if (mark := file_mark(file)) is not None)


def file_mark(file: Path) -> FileMark | None:
    """Name, time of change in nanoseconds and size of a file; None: it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return str(file), found.st_mtime_ns, found.st_size


def _pools(home: Path, now_s: float) -> tuple[PoolReading, PoolReading]:
    """Slurm and Kubernetes as SkyPilot's configuration prices them."""
    config = load_sky_config(sky_config_path(home), now_s=now_s)
    context = current_context(home) if config.section(KUBERNETES) else None
    return slurm_pools(config), kubernetes_pools(config, current_context=context)


def _cloud_market(
    catalogs: Path | None, home: Path, now_s: float, good_copies: Path | None, parsed: Path | None
) -> Market:
    if catalogs is not None:
        return read_catalogs(catalogs, now_s=now_s, cache=parsed)
    directory = default_catalog_dir(home)
    if has_catalogs(directory):
        return read_catalogs(directory, now_s=now_s, good_copies=good_copies, cache=parsed)
    shown = f"~/{directory.relative_to(home)}" if directory.is_relative_to(home) else str(directory)
    if good_copies is not None and has_catalogs(good_copies):
        market = read_catalogs(good_copies, now_s=now_s, cache=parsed)
        note = f"no price catalog in {shown}; the copies that the last refresh has kept are used"
        return replace(market, notes=(note, *market.notes))
    note = f"no price catalog in {shown}; shipped list prices are used, the oldest of {oldest_list_price()}"
    return Market.of_offers(list_price_offers(now_s=now_s), notes=(note,))
