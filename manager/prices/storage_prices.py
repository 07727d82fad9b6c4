"""What disks, buckets and addresses cost while nobody removes them: a dated table with a source per row.

What is not in the table (`data/storage_prices.csv`) is unknown: no neighbour's price is taken for it. Requests,
retrieval and traffic are not counted, nor what a provider gives for nothing.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files

from manager.units import HOURS_PER_MONTH

_ANYWHERE = "*"
_GP3 = "gp3"
_GP3_IOPS = 3000
_GP3_MIBPS = 125
"""In the price of each gp3 volume (docs.aws.amazon.com, General Purpose SSD volumes)."""


def usd_per_month(cloud: str, region: str | None, what: str, *, gib: Decimal) -> Decimal | None:
    """Dollars a month for so much of one class of storage; None: unknown."""
    price = _price(cloud, region, what)
    return None if price is None else price * gib


def volume_usd_per_month(
    region: str | None, volume_type: str, *, gib: Decimal, iops: int | None, mibps: int | None
) -> Decimal | None:
    """Dollars a month of an AWS volume; what is provisioned beyond the type's own share counts; None: unknown.

    Args:
        region: of AWS.
        volume_type: `gp3`, `gp2` ...
        gib: size.
        iops: provisioned; None: the type's own.
        mibps: provisioned throughput in MiB/s; None: the type's own.
    """
    total = usd_per_month("aws", region, volume_type, gib=gib)
    if total is None or volume_type != _GP3:
        return total
    beyond = {
        f"{_GP3}-iops": max(0, (iops or _GP3_IOPS) - _GP3_IOPS),
        f"{_GP3}-throughput": max(0, (mibps or _GP3_MIBPS) - _GP3_MIBPS),
    }
    for what, amount in beyond.items():
        price = _price("aws", region, what)
        if amount and price is None:
            return None
        total += amount * (price or Decimal(0))
    return total


def address_usd_per_month(cloud: str, region: str | None) -> Decimal | None:
    """Dollars a month of a public IPv4 address; None: unknown."""
    price = _price(cloud, region, "address")
    return None if price is None else price * HOURS_PER_MONTH


def storage_prices_as_of() -> str:
    """ISO date of the oldest row."""
    return min(row["as_of"] for row in _rows())


def _price(cloud: str, region: str | None, what: str) -> Decimal | None:
    table = _table()
    return table.get((cloud, region or "", what), table.get((cloud, _ANYWHERE, what)))


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str], Decimal]:
    return {(row["cloud"], row["region"], row["what"]): Decimal(row["price"]) for row in _rows()}


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, str], ...]:
    text = files("manager.prices").joinpath("data", "storage_prices.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
