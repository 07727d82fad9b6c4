"""GCP's catalog: hosts and accelerators have prices of their own, which are joined here into one price.

The host of an accelerator is the one that SkyPilot 0.14 takes: for A100, L4, H100 and newer the machine types made for
it (`data/gcp_hosts.csv`); for T4, V100 and older the cheapest N1 with enough vCPUs and 4 GiB per vCPU. TPU rows hold
the whole price: the TPU VM itself costs nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from manager.prices.card_memory import card_of
from manager.prices.catalog_file import CatalogFile, Cells
from manager.prices.machines import Listing, Machine
from manager.prices.plain_catalog import gibibytes, listings_of, number, rows_by
from manager.prices.price_rules import Audit
from manager.prices.tpu_prices import is_tpu, tpu_machines
from manager.units import GIB

_N1_FAMILIES = ("n1-standard", "n1-highmem", "n1-highcpu")
_GIB_PER_VCPU = 4
_COLUMNS = ("InstanceType", "vCPUs", "MemoryGiB", "AcceleratorName", "AcceleratorCount", "GpuInfo")
_NO_HOST_PRICE = ("no_host_price",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _HostRule:
    """Which hosts an accelerator may have."""

    instance_types: tuple[str, ...]
    """Made for this number of this accelerator; empty: N1 machines."""
    min_vcpus: float


class _Host:
    """One host type with its prices."""

    def __init__(self, machine: Machine, *, included: bool) -> None:
        self.machine = machine
        self.included = included
        """The catalog gives 0: the accelerator's price holds the whole (a4-highgpu-8g)."""
        self.cheapest = min((one[2] for one in machine.listings if one[2] is not None), default=None)
        """In ticks, in any region."""
        self._by_zone: dict[str, Listing] = {}
        self._by_region: dict[str, Listing] = {}
        for listing in machine.listings:
            self._by_zone.setdefault(listing[1], listing)
            self._by_region.setdefault(listing[0], listing)

    def is_in(self, region: str) -> bool:
        return region in self._by_region

    def listing(self, region: str, zone: str) -> Listing:
        """Prices in a zone; else those of another zone of the region (GCP's prices are regional)."""
        beside = self._by_zone.get(zone)
        return beside if beside is not None and beside[0] == region else self._by_region[region]


def gcp_machines(catalog: CatalogFile, audit: Audit) -> Iterator[Machine]:
    """Machines without accelerator, machines with one at the joined price, TPU slices."""
    rows = rows_by(catalog, audit, _COLUMNS)
    tpus: dict[str, list[Cells]] = {}
    for cells, places in rows.items():
        if is_tpu(cells[3]):
            tpus.setdefault(cells[3], []).extend(places)
    hosts = [_host(cells, places, audit) for cells, places in rows.items() if not cells[3] and cells[0]]
    nameless = sum(len(places) for cells, places in rows.items() if not cells[3] and not cells[0])
    audit.note("instance_type_missing", nameless)
    dedicated = {name for rule in _host_rules().values() for name in rule.instance_types}
    for host in hosts:
        if host.machine.instance_type in dedicated:
            audit.note("host_of_accelerator", len(host.machine.listings))
        else:
            yield host.machine
    candidates = _Candidates(hosts)
    for cells, places in rows.items():
        if cells[3] and not is_tpu(cells[3]):
            yield from _joined(cells, places, candidates, audit)
    yield from tpu_machines(tpus, audit)


class _Candidates:
    """Hosts by type, and the order in which SkyPilot prefers N1 machines."""

    def __init__(self, hosts: list[_Host]) -> None:
        self._by_type: dict[str, list[_Host]] = {}
        for host in hosts:
            self._by_type.setdefault(host.machine.instance_type, []).append(host)
        # SkyPilot picks the type with the lowest price anywhere, before it looks at regions.
        priced = [host for host in hosts if host.machine.instance_type.startswith(_N1_FAMILIES)]
        self._n1 = sorted(
            priced, key=lambda host: (host.cheapest is None, host.cheapest or 0, host.machine.instance_type)
        )

    def of(self, rule: _HostRule, region: str) -> list[_Host]:
        """Hosts for this rule in this region: every type made for the accelerator, or the N1 that SkyPilot takes."""
        if rule.instance_types:
            made = [host for name in rule.instance_types for host in self._by_type.get(name, [])]
            return [host for host in made if host.is_in(region)]
        for host in self._n1:
            memory_gib = (host.machine.memory_bytes or 0) / GIB
            enough = (host.machine.vcpus or 0) >= rule.min_vcpus and memory_gib >= rule.min_vcpus * _GIB_PER_VCPU
            if enough and host.is_in(region):
                return [host]
        return []


def _host(cells: Cells, places: list[Cells], audit: Audit) -> _Host:
    instance_type, vcpus, memory, _, _, _ = cells
    included = all(number(price) == 0 for _, _, price, _ in places) and _is_dedicated(instance_type)
    if included:
        audit.note("host_in_accelerator_price", len(places))
        listings: list[Listing] = [(region, zone, None, None, ()) for region, zone, _, _ in places]
    else:
        listings = listings_of(places, audit)
    machine = Machine(
        instance_type=instance_type,
        accelerator=None,
        accelerator_count=0.0,
        accelerator_memory_bytes=None,
        vcpus=number(vcpus) or None,
        memory_bytes=gibibytes(memory),
        listings=listings,
    )
    return _Host(machine, included=included)


def _joined(cells: Cells, places: list[Cells], candidates: _Candidates, audit: Audit) -> Iterator[Machine]:
    """The accelerator on each of its hosts; listed without a price where the host's is not known."""
    _, _, _, name, count_text, gpu_info = cells
    count = number(count_text) or 0.0
    rule = _host_rules().get((name, count))
    if rule is None:
        audit.note("no_known_host", len(places))
        return
    by_host: dict[str, list[Listing]] = {}
    hosts: dict[str, _Host] = {}
    for listing in listings_of(places, audit):
        found = candidates.of(rule, listing[0])
        if not found:
            audit.note("no_host_price")
            nameless = rule.instance_types[0] if len(rule.instance_types) == 1 else ""
            alone = (*listing[:2], None, None, _NO_HOST_PRICE)
            by_host.setdefault(nameless, []).append(alone)
        for host in found:
            hosts[host.machine.instance_type] = host
            by_host.setdefault(host.machine.instance_type, []).append(_sum(listing, host))
    for instance_type, listings in by_host.items():
        yield _machine(instance_type, name, count, gpu_info, hosts.get(instance_type), listings)


def _sum(accelerator: Listing, host: _Host) -> Listing:
    """Both prices together; unknown when one of them is."""
    if host.included:
        return accelerator
    region, zone, price, spot, flags = accelerator
    _, _, host_price, host_spot, _ = host.listing(region, zone)
    if host_price is None:
        return (region, zone, None, None, _NO_HOST_PRICE)
    on_demand = None if price is None else price + host_price
    return (region, zone, on_demand, None if spot is None or host_spot is None else spot + host_spot, flags)


def _machine(
    instance_type: str, name: str, count: float, gpu_info: str, host: _Host | None, listings: list[Listing]
) -> Machine:
    return Machine(
        instance_type=instance_type,
        accelerator=name,
        accelerator_count=count,
        accelerator_memory_bytes=card_of("gcp", name, instance_type, count, gpu_info).memory_bytes,
        vcpus=host.machine.vcpus if host else None,
        memory_bytes=host.machine.memory_bytes if host else None,
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
