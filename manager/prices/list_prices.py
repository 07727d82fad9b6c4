"""The shipped table of list prices: what a plan rests on when this machine has no price catalog.

Facts with a date and a source per row (`data/list_prices.csv`), common US and EU regions only. `as_of` is the earliest
date that the price can be from, so that the age shown is never too young.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files

from manager.prices.card_memory import card_of
from manager.prices.offer import Offer
from manager.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPrice:
    """One row of the table: one instance type in one region."""

    cloud: str
    region: str
    instance_type: str
    accelerator: str
    accelerator_count: float
    vcpus: float | None
    memory_bytes: int | None
    price_usd_per_hour: Decimal
    spot_usd_per_hour: Decimal | None
    """None: the table has no spot price."""
    as_of: str
    """ISO date."""
    source: str


def list_price_offers(*, now_s: float) -> tuple[Offer, ...]:
    """On-demand and, where the table has them, spot offers.

    Args:
        now_s: Unix time in seconds, for the age of the prices.
    """
    offers: list[Offer] = []
    for row in list_prices():
        dated_s = datetime.fromisoformat(row.as_of).replace(tzinfo=UTC).timestamp()
        age_s = now_s - dated_s if now_s >= dated_s else None
        offers.append(_offer(row, row.price_usd_per_hour, age_s, use_spot=False))
        if row.spot_usd_per_hour is not None:
            offers.append(_offer(row, row.spot_usd_per_hour, age_s, use_spot=True))
    return tuple(offers)


@lru_cache(maxsize=1)
def list_prices() -> tuple[ListPrice, ...]:
    """All rows of the table, read once."""
    text = files("manager.prices").joinpath("data", "list_prices.csv").read_text(encoding="utf-8")
    return tuple(_parse(row) for row in csv.DictReader(text.splitlines()))


def known_counts(cloud: str) -> dict[str, float]:
    """Instance type -> number of accelerators, for the machines of one cloud in the table."""
    return {row.instance_type: row.accelerator_count for row in list_prices() if row.cloud == cloud}


def oldest_list_price() -> str:
    """ISO date of the oldest row."""
    return min(row.as_of for row in list_prices())


def _offer(row: ListPrice, price_usd_per_hour: Decimal, age_s: float | None, *, use_spot: bool) -> Offer:
    card = card_of(row.cloud, row.accelerator, row.instance_type, row.accelerator_count, "")
    return Offer(
        cloud=row.cloud,
        region=row.region,
        instance_type=row.instance_type,
        accelerator=row.accelerator,
        accelerator_count=row.accelerator_count,
        accelerator_memory_bytes=card.memory_bytes,
        vcpus=row.vcpus,
        host_memory_bytes=row.memory_bytes,
        use_spot=use_spot,
        price_usd_per_hour=price_usd_per_hour,
        price_source=f"list price of {row.as_of}, {row.source}",
        price_age_s=age_s,
    )


def _parse(row: dict[str, str]) -> ListPrice:
    return ListPrice(
        cloud=row["cloud"],
        region=row["region"],
        instance_type=row["instance_type"],
        accelerator=row["accelerator"],
        accelerator_count=float(row["accelerator_count"]),
        vcpus=float(row["vcpus"]) if row["vcpus"] else None,
        memory_bytes=round(float(row["memory_gib"]) * GIB) if row["memory_gib"] else None,
        price_usd_per_hour=Decimal(row["price_usd_per_hour"]),
        spot_usd_per_hour=Decimal(row["spot_usd_per_hour"]) if row["spot_usd_per_hour"] else None,
        as_of=row["as_of"],
        source=row["source"],
    )
