"""Machines of one cloud with their prices per zone, and the rentals that they make.

Owns the merging: zones of one price in a region become one quote, regions of one machine one rental. Prices are whole
ticks here (`price_rules.TICKS_PER_USD`): tens of thousands of them are compared, and money is made of them once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Any, cast

from manager.prices.market import UNKNOWN_USD, Quote, Rental
from manager.prices.price_rules import TICKS_PER_USD, Audit, dollars, spot_flags

Listing = tuple[str, str, int | None, int | None, tuple[str, ...]]
"""The prices of a machine in one zone: region, zone (empty where the cloud names none), on-demand price in ticks per
hour (None: unknown), spot price (None: no spot offer), rules that noticed something in the place or the price."""
UNKNOWN_TICKS = 1 << 62
"""An unknown price in the order of prices: behind every known one."""
LOCAL_ZONE = "local_zone"
"""Flag of a place; it holds for both markets."""
_SEVERAL = "several_prices"
_Found = tuple[int, str, tuple[str, ...], tuple[str, ...]]
"""Ticks, region, zones, flags: sorts as the quotes of a rental do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine, in one or more regions."""

    instance_type: str
    accelerator: str | None
    accelerator_count: float
    accelerator_memory_bytes: int | None
    """Per accelerator, from our table; None is unknown."""
    vcpus: float | None
    memory_bytes: int | None
    listings: list[Listing]
    flags: tuple[str, ...] = ()
    """Rules that noticed something in the machine, apart from its prices."""
    price_usable: bool = True
    """False when it is not sure what the price buys: it is listed with unknown price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedMachine:
    """A machine, on demand or spot, with its prices in columns: the form in which a parsed catalog is kept."""

    instance_type: str | None
    accelerator: str | None
    accelerator_count: float
    accelerator_memory_bytes: int | None
    vcpus: float | None
    memory_bytes: int | None
    use_spot: bool
    flags: tuple[str, ...]
    ticks: tuple[int, ...]
    """In rising order; `UNKNOWN_TICKS` is unknown."""
    regions: tuple[str, ...]
    zones: tuple[tuple[str, ...], ...]
    quote_flags: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the prices of one cloud come from."""

    cloud: str
    price_source: str
    price_age_s: float | None


def priced_machines(machines: Iterable[Machine], audit: Audit) -> Iterator[PricedMachine]:
    """Each machine on demand, and on spot where it has such prices; machines that differ in place only are one."""
    merged: dict[tuple[object, ...], list[Machine]] = defaultdict(list)
    for machine in machines:
        if machine.listings:
            merged[_identity(machine)].append(machine)
    for same in merged.values():
        first = same[0]
        listings = first.listings if len(same) == 1 else [one for machine in same for one in machine.listings]
        for flag in first.flags:
            audit.note(flag, len({one[0] for one in listings}))
        on_demand, spot = _by_price(first, listings, audit)
        _note_several_prices(on_demand, audit)
        yield _priced(first, on_demand, use_spot=False)
        if spot:
            yield _priced(first, spot, use_spot=True)


def rentals_of(machines: Iterable[PricedMachine], origin: Origin) -> Iterator[Rental]:
    """The rentals, with prices as money."""
    quote = cast("Callable[[tuple[Any, ...]], Quote]", partial(tuple.__new__, Quote))
    for machine in machines:
        known = machine.ticks[: bisect_left(machine.ticks, UNKNOWN_TICKS)]
        unknown = len(machine.ticks) - len(known)
        usd = [ticks / TICKS_PER_USD for ticks in known] + [UNKNOWN_USD] * unknown
        prices = chain(map(dollars, known), repeat(None, unknown))
        columns = zip(usd, prices, machine.regions, machine.zones, machine.quote_flags, strict=True)
        yield Rental(
            cloud=origin.cloud,
            instance_type=machine.instance_type,
            accelerator=machine.accelerator,
            accelerator_count=machine.accelerator_count,
            accelerator_memory_bytes=machine.accelerator_memory_bytes,
            vcpus=machine.vcpus,
            host_memory_bytes=machine.memory_bytes,
            use_spot=machine.use_spot,
            price_source=origin.price_source,
            price_age_s=origin.price_age_s,
            flags=machine.flags,
            quotes=tuple(map(quote, columns)),
        )


def _identity(machine: Machine) -> tuple[object, ...]:
    return (
        machine.instance_type,
        machine.accelerator,
        machine.accelerator_count,
        machine.accelerator_memory_bytes,
        machine.vcpus,
        machine.memory_bytes,
        machine.flags,
        machine.price_usable,
    )


_Priced = dict[tuple[int, str, tuple[str, ...]], list[str]]
"""(Ticks, region, flags) -> zones."""


def _by_price(machine: Machine, listings: list[Listing], audit: Audit) -> tuple[_Priced, _Priced]:
    """On-demand and spot prices with their zones."""
    on_demand: _Priced = defaultdict(list)
    spot: _Priced = defaultdict(list)
    distinct = dict.fromkeys(listings)
    audit.note("duplicate_row", len(listings) - len(distinct))
    usable = machine.price_usable
    for region, zone, price, spot_price, flags in distinct:
        ticks = price if price is not None and usable else UNKNOWN_TICKS
        on_demand[ticks, region, flags].append(zone)
        if spot_price is None:
            continue
        noticed = spot_flags(spot_price, price)
        if noticed:
            audit.note(noticed[0])
        if flags and LOCAL_ZONE in flags:
            noticed = (LOCAL_ZONE, *noticed)
        spot[spot_price if usable else UNKNOWN_TICKS, region, noticed].append(zone)
    return on_demand, spot


def _note_several_prices(on_demand: _Priced, audit: Audit) -> None:
    """Flag on-demand prices of one region that differ: which one is charged, nobody says."""
    if len(on_demand) == len({region for _, region, _ in on_demand}):
        return
    by_region: dict[str, list[tuple[int, str, tuple[str, ...]]]] = defaultdict(list)
    for key in on_demand:
        if key[0] != UNKNOWN_TICKS and not key[2]:
            by_region[key[1]].append(key)
    for keys in by_region.values():
        if len(keys) > 1:
            audit.note(_SEVERAL)
            for key in keys:
                on_demand[key[0], key[1], (_SEVERAL,)] = on_demand.pop(key)


def _priced(machine: Machine, found: _Priced, *, use_spot: bool) -> PricedMachine:
    rows = sorted(
        [
            (ticks, region, (zones[0],) if len(zones) == 1 and zones[0] else _zones(zones), flags)
            for (ticks, region, flags), zones in found.items()
        ]
    )
    ticks, regions, zones, flags = zip(*rows, strict=True)
    return PricedMachine(
        instance_type=machine.instance_type or None,
        accelerator=machine.accelerator,
        accelerator_count=machine.accelerator_count,
        accelerator_memory_bytes=machine.accelerator_memory_bytes,
        vcpus=machine.vcpus,
        memory_bytes=machine.memory_bytes,
        use_spot=use_spot,
        flags=machine.flags,
        ticks=ticks,
        regions=regions,
        zones=zones,
        quote_flags=flags,
    )


def _zones(zones: list[str]) -> tuple[str, ...]:
    return tuple(sorted({zone for zone in zones if zone}))
