"""GCP's catalog: hosts and accelerators have prices of their own, which are joined here into one price.

The host of an accelerator is the one that SkyPilot 0.14 takes: for A100, L4, H100 and newer the machine types made for
it (`data/gcp_hosts.csv`); for T4, V100 and older the cheapest N1 with enough vCPUs and 4 GiB per vCPU. TPU rows hold
the whole price: the TPU VM itself costs nothing.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files

from manager.prices.catalog_file import CatalogFile, Cells
from manager.prices.machines import Listing, Machine
from manager.prices.plain_catalog import gibibytes, number, price_listing
from manager.prices.price_rules import Audit
from manager.prices.tpu_prices import is_tpu, tpu_machines
from manager.units import GIB

_N1_FAMILIES = ("n1-standard", "n1-highmem", "n1-highcpu")
_GIB_PER_VCPU = 4
_COLUMNS = ("InstanceType", "vCPUs", "MemoryGiB", "AcceleratorName", "AcceleratorCount", "Region")
_PRICES = ("AvailabilityZone", "Price", "SpotPrice")


@dataclass(frozen=True, slots=True, kw_only=True)
class _HostRule:
    """Which hosts an accelerator may have."""

    instance_types: tuple[str, ...]
    """Made for this number of this accelerator; empty: N1 machines."""
    min_vcpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """One host type in one region."""

    machine: Machine
    included: bool
    """The catalog gives 0: the accelerator's price holds the whole (a4-highgpu-8g)."""

    def listing(self, zone: str) -> Listing | None:
        """Prices in a zone; else those of another zone of the region (GCP's prices are regional)."""
        listings = self.machine.listings
        return next((one for one in listings if one.zone == zone), listings[0] if listings else None)


def gcp_machines(catalog: CatalogFile, audit: Audit) -> Iterator[Machine]:
    """Machines without accelerator, machines with one at the joined price, TPU slices."""
    machine_of, prices_of = catalog.cells(*_COLUMNS), catalog.cells(*_PRICES)
    rows: defaultdict[Cells, list[Cells]] = defaultdict(list)
    for row in catalog.rows:
        rows[machine_of(row)].append(prices_of(row))
    tpus = {cells: prices for cells, prices in rows.items() if is_tpu(cells[3])}
    attached = {cells: prices for cells, prices in rows.items() if cells[3] and not is_tpu(cells[3])}
    hosts = [_host(cells, prices, audit) for cells, prices in rows.items() if not cells[3]]
    dedicated = {name for rule in _host_rules().values() for name in rule.instance_types}
    for host in hosts:
        if host.machine.instance_type in dedicated:
            audit.counts["host_of_accelerator"] += len(host.machine.listings)
        else:
            yield host.machine
    candidates = _Candidates(hosts)
    for cells, prices in attached.items():
        yield from _joined(cells, prices, candidates, audit)
    yield from tpu_machines(tpus, audit)


class _Candidates:
    """Hosts by type and by region, and the order in which SkyPilot prefers the types."""

    def __init__(self, hosts: list[_Host]) -> None:
        self._by_place = {(host.machine.instance_type, host.machine.region): host for host in hosts}
        cheapest: dict[str, Decimal] = {}
        for host in hosts:
            for listing in host.machine.listings:
                price = Decimal(0) if host.included else listing.on_demand
                name = host.machine.instance_type
                if price is not None and (name not in cheapest or price < cheapest[name]):
                    cheapest[name] = price
        # SkyPilot picks the type with the lowest price anywhere, before it looks at regions.
        self._n1 = sorted(
            (host.machine for host in hosts if host.machine.instance_type.startswith(_N1_FAMILIES)),
            key=lambda machine: (cheapest.get(machine.instance_type, Decimal("Infinity")), machine.instance_type),
        )

    def of(self, rule: _HostRule, region: str | None) -> list[_Host]:
        """Hosts for this rule in this region: every type made for the accelerator, or the N1 that SkyPilot takes."""
        if rule.instance_types:
            places = [(name, region) for name in rule.instance_types]
            return [self._by_place[place] for place in places if place in self._by_place]
        for machine in self._n1:
            memory_gib = (machine.memory_bytes or 0) / GIB
            enough = (machine.vcpus or 0) >= rule.min_vcpus and memory_gib >= rule.min_vcpus * _GIB_PER_VCPU
            if enough and machine.region == region:
                return [self._by_place[machine.instance_type, region]]
        return []


def _host(cells: Cells, prices: list[Cells], audit: Audit) -> _Host:
    instance_type, vcpus, memory, _, _, region = cells
    included = all(number(price) == 0 for _, price, _ in prices) and _is_dedicated(instance_type)
    if included:
        audit.counts["host_in_accelerator_price"] += len(prices)
        listings = tuple(Listing(zone, None, None, ()) for zone, _, _ in prices)
    else:
        listings = tuple(price_listing(cell, audit) for cell in prices)
    machine = Machine(
        instance_type=instance_type,
        accelerator=None,
        accelerator_count=0.0,
        vcpus=number(vcpus) or None,
        memory_bytes=gibibytes(memory),
        region=region or None,
        listings=listings,
    )
    return _Host(machine=machine, included=included)


def _joined(cells: Cells, prices: list[Cells], candidates: _Candidates, audit: Audit) -> Iterator[Machine]:
    """The accelerator on each of its hosts; listed without a price where the host's is not known."""
    _, _, _, name, count_text, region = cells
    count = number(count_text) or 0.0
    rule = _host_rules().get((name, count))
    if rule is None:
        audit.counts["no_known_host"] += len(prices)
        return
    accelerator_listings = [price_listing(cell, audit) for cell in prices]
    hosts = candidates.of(rule, region or None)
    if not hosts:
        audit.counts["no_host_price"] += len(prices)
        nameless = rule.instance_types[0] if len(rule.instance_types) == 1 else ""
        listings = tuple(Listing(one.zone, None, None, ("no_host_price",)) for one in accelerator_listings)
        yield _machine(nameless, name, count, region, None, listings)
    for host in hosts:
        listings = tuple(_sum(one, host) for one in accelerator_listings)
        yield _machine(host.machine.instance_type, name, count, region, host.machine, listings)


def _sum(accelerator: Listing, host: _Host) -> Listing:
    """Both prices together; unknown when one of them is."""
    if host.included:
        return accelerator
    beside = host.listing(accelerator.zone)
    if beside is None or beside.on_demand is None:
        return Listing(accelerator.zone, None, None, ("no_host_price",))
    on_demand = None if accelerator.on_demand is None else accelerator.on_demand + beside.on_demand
    spot = None if accelerator.spot is None or beside.spot is None else accelerator.spot + beside.spot
    return Listing(accelerator.zone, on_demand, spot, accelerator.flags)


def _machine(
    instance_type: str, name: str, count: float, region: str, host: Machine | None, listings: tuple[Listing, ...]
) -> Machine:
    return Machine(
        instance_type=instance_type,
        accelerator=name,
        accelerator_count=count,
        vcpus=host.vcpus if host else None,
        memory_bytes=host.memory_bytes if host else None,
        region=region or None,
        listings=listings,
    )


def _is_dedicated(instance_type: str) -> bool:
    return any(instance_type in rule.instance_types for rule in _host_rules().values())


@lru_cache(maxsize=1)
def _host_rules() -> dict[tuple[str, float], _HostRule]:
    text = files("manager.prices").joinpath("data", "gcp_hosts.csv").read_text(encoding="utf-8")
    return {
        (row["accelerator"], float(row["count"])): _HostRule(
            instance_types=tuple(row["instance_types"].split()), min_vcpus=float(row["min_vcpus"] or 0)
        )
        for row in csv.DictReader(text.splitlines())
    }
