"""Machines of one cloud in one region with their prices per zone, and the offers that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from manager.catalog.accelerators import accelerator
from manager.prices.offer import Offer
from manager.prices.price_rules import Audit, spot_flags


class Listing(NamedTuple):
    """The prices of a machine in one zone; a tuple, because a catalog holds tens of thousands."""

    zone: str
    """Empty where the cloud names none."""
    on_demand: Decimal | None
    """Dollars per hour; None is unknown."""
    spot: Decimal | None
    """Dollars per hour; None: no spot offer."""
    flags: tuple[str, ...]
    """Rules that noticed something in the on-demand price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One instance type in one region."""

    instance_type: str
    accelerator: str | None
    accelerator_count: float
    vcpus: float | None
    memory_bytes: int | None
    region: str | None
    listings: tuple[Listing, ...]
    flags: tuple[str, ...] = ()
    """Rules that noticed something in the machine, apart from its prices."""
    price_usable: bool = True
    """False when it is not sure what the price buys: the offer is listed with unknown price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the prices of one cloud come from."""

    cloud: str
    price_source: str
    price_age_s: float | None


def offers_of(machines: Iterable[Machine], origin: Origin, audit: Audit) -> Iterator[Offer]:
    """One offer per machine, market and price, with the zones of that price merged, in the order of the machines."""
    memory: dict[str | None, int | None] = {None: None}
    for machine in machines:
        name = machine.accelerator
        if name not in memory:
            known = accelerator(name) if name is not None else None
            memory[name] = None if known is None else known.memory_bytes
        for flag in machine.flags:
            audit.note(flag)
        for (price, use_spot, flags), zones in _by_price(machine, audit).items():
            yield Offer(
                cloud=origin.cloud,
                region=machine.region,
                zones=tuple(sorted(zones)) if len(zones) > 1 else tuple(zones),
                instance_type=machine.instance_type or None,
                accelerator=name,
                accelerator_count=machine.accelerator_count,
                accelerator_memory_bytes=memory[name],
                vcpus=machine.vcpus,
                host_memory_bytes=machine.memory_bytes,
                use_spot=use_spot,
                price_usd_per_hour=price,
                price_source=origin.price_source,
                price_age_s=origin.price_age_s,
                flags=flags,
            )


_Price = tuple[Decimal | None, bool, tuple[str, ...]]


def _by_price(machine: Machine, audit: Audit) -> dict[_Price, set[str]]:
    """(price, spot?, flags) -> zones; on-demand before spot."""
    on_demand: dict[_Price, set[str]] = {}
    spot: dict[_Price, set[str]] = {}
    seen: set[Listing] = set()
    for listing in machine.listings:
        if listing in seen:
            audit.note("duplicate_row")
            continue
        seen.add(listing)
        price = listing.on_demand if machine.price_usable else None
        zone = {listing.zone} if listing.zone else set()
        on_demand.setdefault((price, False, machine.flags + listing.flags), set()).update(zone)
        if listing.spot is None:
            continue
        noticed = spot_flags(listing.spot, listing.on_demand)
        for flag in noticed:
            audit.note(flag)
        price = listing.spot if machine.price_usable else None
        spot.setdefault((price, True, machine.flags + noticed), set()).update(zone)
    return on_demand | spot
