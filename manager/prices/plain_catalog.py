"""Catalogs where one row is one whole machine in one zone: every cloud but GCP."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache

from manager.prices.catalog_file import CatalogFile, Cells
from manager.prices.machines import Listing, Machine
from manager.prices.price_rules import Audit, count_is_plausible
from manager.units import GIB

_AZURE_GPU_SERIES = "Standard_N"
"""Azure's N series is its machines with an accelerator (learn.microsoft.com/azure/virtual-machines/sizes)."""
_UNKNOWN: tuple[str, ...] = ("unknown_price",)


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
    machine_of = catalog.cells(
        "InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "Arch", "Region"
    )
    prices_of = catalog.cells("AvailabilityZone", "Price", "SpotPrice")
    listings: defaultdict[Cells, list[Cells]] = defaultdict(list)
    for row in catalog.rows:
        listings[machine_of(row)].append(prices_of(row))
    for cells, prices in listings.items():
        machine = _machine(cloud, cells, prices, audit, known_counts)
        if machine is not None:
            yield machine


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


def price_listing(cells: Cells, audit: Audit) -> Listing:
    """The prices in the cells (zone, price, spot price) of one row."""
    zone, price_text, spot_text = cells
    price = audit.price(price_text, missing="unknown_price")
    return Listing(zone, price, audit.price(spot_text, missing="no_spot_price"), _UNKNOWN if price is None else ())


def _machine(
    cloud: str, cells: Cells, prices: list[Cells], audit: Audit, known_counts: Mapping[str, float]
) -> Machine | None:
    """The machine with its prices; None when it cannot be an offer."""
    instance_type, name, count_text, vcpus, memory, arch, region = cells
    count = number(count_text) or 0.0
    flags: list[str] = []
    dropped = _reason_to_drop(cloud, instance_type, name, count, arch)
    if dropped is not None:
        audit.counts[dropped] += len(prices)
        return None
    if name:
        count = _checked_count(instance_type, count, known_counts, flags)
    if arch == "arm64":
        flags.append("arm64")
    return Machine(
        instance_type=instance_type,
        accelerator=name or None,
        accelerator_count=count,
        vcpus=number(vcpus) or None,
        memory_bytes=gibibytes(memory),
        region=region or None,
        listings=tuple(price_listing(one, audit) for one in prices),
        flags=tuple(flags),
        price_usable="implausible_accelerator_count" not in flags,
    )


def _reason_to_drop(cloud: str, instance_type: str, name: str, count: float, arch: str) -> str | None:
    if not instance_type:
        return "instance_type_missing"
    if arch == "i386":
        return "unsupported_architecture"
    if not name and (count > 0 or (cloud == "azure" and instance_type.startswith(_AZURE_GPU_SERIES))):
        return "accelerator_missing"
    if name and count <= 0:
        return "accelerator_count_missing"
    return None


def _checked_count(instance_type: str, count: float, known_counts: Mapping[str, float], flags: list[str]) -> float:
    known = known_counts.get(instance_type, count)
    if known != count:
        flags.append("count_corrected")
    elif not count_is_plausible(count, instance_type):
        flags.append("implausible_accelerator_count")
    elif count < 1:
        flags.append("fractional_accelerator")
    return known
