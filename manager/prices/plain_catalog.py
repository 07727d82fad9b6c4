"""Catalogs where one row is one whole machine in one zone: every cloud but GCP."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import repeat
from operator import itemgetter

from manager.prices.card_memory import Card, card_of
from manager.prices.catalog_file import CatalogFile, Cells
from manager.prices.machines import LOCAL_ZONE, Listing, Machine
from manager.prices.price_rules import Audit, count_is_plausible
from manager.units import GIB

_AZURE_GPU_SERIES = "Standard_N"
"""Azure's N series is its machines with an accelerator (learn.microsoft.com/azure/virtual-machines/sizes)."""
_AWS_LOCAL_ZONE = re.compile(r"^[a-z0-9]+-[a-z0-9]+-az[0-9]+$")
"""Zone ids: `use1-az1` is a zone of the region, `usw2-lax1-az1` a Local Zone (AWS, "Availability Zone IDs")."""
_CONSUMER_HOST = "0"
"""Vast's hosting type of a private person's machine, as SkyPilot's catalog reader takes it."""
_MACHINE = (
    "InstanceType",
    "AcceleratorName",
    "AcceleratorCount",
    "vCPUs",
    "MemoryGiB",
    "Arch",
    "HostingType",
    "GpuInfo",
)
_UNKNOWN = ("unknown_price",)
_BUYS_UNKNOWN = frozenset({"implausible_accelerator_count", "card_not_known"})
"""With these it is not sure what the price buys."""
_FEWEST_MACHINES, _FEWEST_REGIONS = 5, 3
"""Fewer say nothing about how a cloud lists its regions."""


def plain_machines(
    cloud: str, catalog: CatalogFile, audit: Audit, known_counts: Mapping[str, float]
) -> Iterator[Machine]:
    """The machines of a file; rows that cannot be an offer are left out and counted.

    Args:
        cloud: SkyPilot's name.
        catalog: the rows.
        audit: counts the rules.
        known_counts: instance type -> accelerators, from the shipped table; it wins over the catalog.
    """
    rows = rows_by(catalog, audit, _MACHINE)
    _note_every_region(rows, audit)
    cards = _cards(cloud, rows, audit)
    for cells, places in rows.items():
        if _is_offer(cloud, cells, len(places), audit):
            listings = _local_zones(cloud, listings_of(places, audit), audit)
            yield _machine(cells, listings, cards.get(cells[:3]), known_counts)


def rows_by(catalog: CatalogFile, audit: Audit, columns: tuple[str, ...]) -> dict[Cells, list[Cells]]:
    """Cells of these columns -> (region, zone, price, spot price) of each row; the audit learns the prices."""
    for column in ("Price", "SpotPrice"):
        audit.learn(map(itemgetter(catalog.columns[column]), catalog.rows))
    key_of, place_of = catalog.cells(*columns), catalog.cells("Region", "AvailabilityZone", "Price", "SpotPrice")
    rows: defaultdict[Cells, list[Cells]] = defaultdict(list)
    for key, place in zip(map(key_of, catalog.rows), map(place_of, catalog.rows), strict=True):
        rows[key].append(place)
    return rows


@lru_cache(maxsize=4096)
def number(text: str) -> float | None:
    """A number of a catalog's cell; None when it is empty, NaN or no number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def gibibytes(text: str) -> int | None:
    """A memory size in GiB as bytes; None when unknown or 0."""
    value = number(text)
    return round(value * GIB) if value else None


def listings_of(rows: list[Cells], audit: Audit) -> list[Listing]:
    """The prices in the cells (region, zone, price, spot price) of the rows that name a region."""
    regions, zones, price_texts, spot_texts = zip(*rows, strict=True)
    prices = tuple(map(audit.believed.get, price_texts))
    if None in prices or "" in regions:
        return _listings_one_by_one(rows, audit)
    spots = tuple(map(audit.believed.get, spot_texts))
    if None in spots:
        for text in spot_texts:
            audit.ticks(text, "no_spot_price")
    return list(zip(regions, zones, prices, spots, repeat(())))


def _listings_one_by_one(rows: list[Cells], audit: Audit) -> list[Listing]:
    listings: list[Listing] = []
    for region, zone, price_text, spot_text in rows:
        if not region:
            audit.note("region_missing")
            continue
        price = audit.ticks(price_text, "unknown_price")
        spot = audit.ticks(spot_text, "no_spot_price")
        listings.append((region, zone, price, spot, () if price is not None else _UNKNOWN))
    return listings


def _is_offer(cloud: str, cells: Cells, rows: int, audit: Audit) -> bool:
    """Whether the machine can be an offer; its rows are counted otherwise."""
    instance_type, name, count_text, _, _, arch, _, _ = cells
    count = number(count_text) or 0.0
    if not instance_type:
        reason = "instance_type_missing"
    elif arch == "i386":
        reason = "unsupported_architecture"
    elif not name and (count > 0 or (cloud == "azure" and instance_type.startswith(_AZURE_GPU_SERIES))):
        reason = "accelerator_missing"
    elif name and count <= 0:
        reason = "accelerator_count_missing"
    else:
        return True
    audit.note(reason, rows)
    return False


def _machine(cells: Cells, listings: list[Listing], card: Card | None, known_counts: Mapping[str, float]) -> Machine:
    instance_type, name, count_text, vcpus, memory, arch, hosting, _ = cells
    count = number(count_text) or 0.0
    flags: list[str] = []
    if name:
        count = _checked_count(instance_type, count, known_counts, flags)
    flags.extend(() if card is None else card.flags)
    if hosting == _CONSUMER_HOST:
        flags.append("consumer_host")
    if arch == "arm64":
        flags.append("arm64")
    return Machine(
        instance_type=instance_type,
        accelerator=name or None,
        accelerator_count=count,
        accelerator_memory_bytes=None if card is None else card.memory_bytes,
        vcpus=number(vcpus) or None,
        memory_bytes=gibibytes(memory),
        listings=listings,
        flags=tuple(flags),
        price_usable=_BUYS_UNKNOWN.isdisjoint(flags),
    )


def _checked_count(instance_type: str, count: float, known_counts: Mapping[str, float], flags: list[str]) -> float:
    known = known_counts.get(instance_type, count)
    if known != count:
        flags.append("count_corrected")
    elif not count_is_plausible(count, instance_type):
        flags.append("implausible_accelerator_count")
    elif count < 1:
        flags.append("fractional_accelerator")
    return known


def _cards(cloud: str, rows: Mapping[Cells, list[Cells]], audit: Audit) -> dict[Cells, Card]:
    """(Instance type, name, count) -> the card; of several under one name of a machine, the one of least memory."""
    cards: dict[Cells, Card] = {}
    for cells, places in rows.items():
        name = cells[1]
        if not name:
            continue
        card = card_of(cloud, name, cells[0], number(cells[2]) or 1.0, cells[-1])
        if card.differs:
            audit.note("memory_differs", len(places))
        before = cards.setdefault(cells[:3], card)
        if before.memory_bytes != card.memory_bytes:
            least = min(before.memory_bytes or 0, card.memory_bytes or 0)
            cards[cells[:3]] = Card(memory_bytes=least or None, flags=("several_cards",))
    return cards


def _local_zones(cloud: str, listings: list[Listing], audit: Audit) -> list[Listing]:
    """The listings, those of AWS's Local Zones flagged."""
    if cloud != "aws":
        return listings
    local = {zone for _, zone, _, _, _ in listings if zone.count("-") > 1 and _AWS_LOCAL_ZONE.match(zone)}
    if not local:
        return listings
    audit.note(LOCAL_ZONE, sum(one[1] in local for one in listings))
    return [(*one[:4], (LOCAL_ZONE, *one[4])) if one[1] in local else one for one in listings]


def _note_every_region(rows: Mapping[Cells, list[Cells]], audit: Audit) -> None:
    """Count the rows of a cloud that lists every machine in every region at one price."""
    machines = [places for cells, places in rows.items() if cells[1]]
    regions = {region for region, _, _, _ in machines[0]} if machines else set()
    if len(machines) < _FEWEST_MACHINES or len(regions) < _FEWEST_REGIONS:
        return
    for places in machines:
        if {region for region, _, _, _ in places} != regions or len({price for _, _, price, _ in places}) > 1:
            return
    audit.note("every_region", sum(map(len, machines)))
