"""A folder of price catalogs as large as a real one, in the layout of SkyPilot's v8 catalogs, with known traps in it.

Machines, regions and prices are invented in realistic numbers: about ten clouds, forty accelerators in machines of one
to eight, processors of every size, thirty regions with zones, spot prices that differ by zone. The same arguments write
the same bytes. Each kind of damage is planted a known number of times, by the name of the rule that has to find it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

_ACCELERATORS = {
    "K80": 0.9, "P100": 1.4, "V100": 2.5, "V100-32GB": 3.0, "T4": 0.4, "M60": 0.7, "A10": 0.9, "A10G": 1.0, "A16": 0.5,
    "A30": 1.1, "A40": 0.6, "A100": 2.9, "A100-80GB": 3.7, "L4": 0.7, "L40": 1.1, "L40S": 1.6, "H100": 6.8,
    "H100-SXM": 3.0, "H100-NVL": 2.7, "H200": 9.0, "GH200": 2.3, "B200": 12.0, "B300": 15.0, "MI250X": 3.0,
    "MI300X": 4.0, "Gaudi2": 2.0, "RTX3090": 0.3, "RTX4070": 0.2, "RTX4080": 0.3, "RTX4090": 0.5, "RTX5090": 0.8,
    "RTXA4000": 0.2, "RTXA4500": 0.3, "RTXA5000": 0.3, "RTXA6000": 0.6, "RTX4000-Ada": 0.3, "RTX6000-Ada": 0.8,
    "RTXPRO6000": 1.9, "Trainium": 1.3, "Inferentia2": 0.8,
}  # fmt: skip
"""Name -> about how many dollars an hour of one costs."""
_LARGE_CLOUDS = ("oci", "ibm", "azure", "aws")
_SMALL_CLOUDS = ("lambda", "runpod", "nebius", "vast", "fluidstack", "paperspace", "cudo", "do", "hyperbolic")
_PLAIN_COLUMNS = (
    "InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "GpuInfo", "Price", "SpotPrice",
    "Region", "AvailabilityZone", "Arch",
)  # fmt: skip
_GCP_COLUMNS = (
    "InstanceType", "vCPUs", "MemoryGiB", "AcceleratorName", "AcceleratorCount", "GpuInfo", "Region",
    "AvailabilityZone", "Price", "SpotPrice",
)  # fmt: skip
_REGIONS = tuple(
    f"{area}-{n}" for area in ("us-east", "us-west", "eu-north", "ap-south", "sa-east") for n in range(1, 7)
)
_CPU_SIZES = (2, 4, 8, 16, 32, 48, 64, 96)
_SHARES = {
    "unknown_price": 0.004,
    "zero_price": 0.002,
    "negative_price": 0.001,
    "unreadable_price": 0.001,
    "spot_above_on_demand": 0.005,
    "spot_equals_on_demand": 0.01,
    "spot_is_a_tenth": 0.01,
    "no_spot_price": 0.03,
    "duplicate_row": 0.002,
}
"""Rule -> share of the rows of a large cloud on which it is planted."""


_DAMAGED_PRICE = {"unknown_price": "NaN", "zero_price": "0.0", "negative_price": "-1", "unreadable_price": "n/a"}
_GCP_ATTACHED = (
    ("a2-highgpu-1g", "A100", 1, 12), ("a2-highgpu-2g", "A100", 2, 24), ("a2-highgpu-4g", "A100", 4, 48),
    ("a2-highgpu-8g", "A100", 8, 96), ("a2-ultragpu-1g", "A100-80GB", 1, 12), ("a2-ultragpu-8g", "A100-80GB", 8, 96),
    ("g2-standard-24", "L4", 2, 24), ("g2-standard-48", "L4", 4, 48), ("g2-standard-96", "L4", 8, 96),
    ("a3-highgpu-8g", "H100", 8, 208), ("a3-ultragpu-8g", "H200", 8, 224),
)  # fmt: skip
"""Machine type, accelerator, number, vCPUs: each with a host of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticMarket:
    """What was written."""

    folder: Path
    rows: int
    offers: int
    """That the catalogs hold: one per machine, region, market and price."""
    planted: dict[str, dict[str, int]] = field(default_factory=dict)
    """Cloud -> rule -> how often it has to be counted there; clouds with planted traps only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    name: str
    accelerator: str
    count: int
    vcpus: int
    memory_gib: int
    usd: float
    arch: str = "x86_64"


@dataclass(slots=True, kw_only=True)
class _Row:
    """One row of a catalog: one machine in one zone."""

    machine: _Machine
    region: str
    zone: str
    price: str
    spot: str
    trap: str = ""


def write_synthetic_catalogs(folder: Path, offers: int = 50_000, seed: int = 0) -> SyntheticMarket:
    """Write `<folder>/<cloud>/vms.csv` for each cloud.

    Args:
        folder: becomes the folder of catalogs; made when missing.
        offers: how many offers the catalogs hold together, at least a few thousand.
        seed: another one gives other prices.
    """
    random = Random(seed)
    planted: dict[str, dict[str, int]] = {}
    rows, held = _write_gcp(folder, random, offers // 10)
    for cloud in _SMALL_CLOUDS:
        taken, holds = _cut(_small_rows(cloud, random), offers // 80)
        rows, held = rows + _write(folder, cloud, taken), held + holds
    for left, cloud in zip(range(len(_LARGE_CLOUDS), 0, -1), _LARGE_CLOUDS, strict=True):
        wanted = offers - held if left == 1 else (offers - held) // (left + 1)
        taken, holds = _cut(_planted(_zoned_rows(cloud, random), random), wanted)
        rows, held = rows + _write(folder, cloud, taken), held + holds
        planted[cloud] = dict(Counter(row.trap for row in taken if row.trap))
    return SyntheticMarket(folder=folder, rows=rows, offers=held, planted=planted)


def _machines(prefix: str, random: Random) -> Iterator[_Machine]:
    """Machines with every accelerator and number, and as many again without one."""
    for number, (name, usd) in enumerate(_ACCELERATORS.items()):
        for count in (1, 2, 4, 8):
            label = f"{prefix}g{number}.{count}x"
            yield _Machine(
                name=label, accelerator=name, count=count, vcpus=12 * count, memory_gib=96 * count, usd=usd * count
            )
    for family in range(400):
        ratio, usd = random.choice((2, 4, 8)), random.uniform(0.03, 0.06)
        arch = "arm64" if random.random() < 0.15 else "x86_64"
        for size in _CPU_SIZES:
            yield _Machine(
                name=f"{prefix}c{family}.{size}", accelerator="", count=0, vcpus=size, memory_gib=size * ratio,
                usd=usd * size, arch=arch,
            )  # fmt: skip


def _zoned_rows(cloud: str, random: Random) -> Iterator[_Row]:
    """One price on demand per region, one spot price per zone, as AWS has them; Azure and OCI name no zones."""
    zones = 3 if cloud in ("aws", "ibm") else 1
    for machine in _machines(f"{cloud[0]}", random):
        for region in random.sample(_REGIONS, random.randint(12, len(_REGIONS))):
            usd = round(machine.usd * random.uniform(0.9, 1.5), 4)
            for zone in range(1, zones + 1):
                spot = f"{usd * random.uniform(0.2, 0.6):.6f}"
                yield _Row(
                    machine=machine, region=region, zone=f"{region.replace('-', '')}-az{zone}" if zones > 1 else "",
                    price=f"{usd:.4f}", spot=spot,
                )  # fmt: skip


def _small_rows(cloud: str, random: Random) -> Iterator[_Row]:
    """Accelerators only, few regions; no spot but on Nebius and RunPod, whose spot price is that on demand."""
    for machine in _machines(f"{cloud}_", random):
        for region in _REGIONS[: random.randint(3, 17)]:
            price = f"{machine.usd * random.uniform(0.4, 0.9):.2f}"
            spot = {"vast": "0.00", "runpod": price, "nebius": f"{float(price) / 2:.2f}"}.get(cloud, "")
            yield _Row(machine=machine, region=region, zone="", price=price, spot=spot)


def _planted(rows: Iterable[_Row], random: Random) -> Iterator[_Row]:
    """The rows, some with damage in them."""
    names, shares = tuple(_SHARES), tuple(_SHARES.values())
    for row in rows:
        if random.random() >= sum(shares):
            yield row
            continue
        row.trap = random.choices(names, shares)[0]
        usd = float(row.price)
        row.price = _DAMAGED_PRICE.get(row.trap, row.price)
        row.spot = {
            "spot_above_on_demand": f"{usd * 1.2:.6f}",
            "spot_equals_on_demand": row.price,
            "spot_is_a_tenth": f"{usd / 10:.5f}",
            "no_spot_price": "",
        }.get(row.trap, row.spot)
        if row.trap == "duplicate_row":
            yield _Row(machine=row.machine, region=row.region, zone=row.zone, price=row.price, spot=row.spot)
        yield row


def _cut(rows: Iterable[_Row], wanted: int) -> tuple[list[_Row], int]:
    """The first rows that hold so many offers, and how many they hold."""
    taken: list[_Row] = []
    held: set[tuple[str, str, str, str]] = set()
    for row in rows:
        if len(held) >= wanted and row.trap != "duplicate_row":
            break
        taken.append(row)
        price = "" if row.price in _DAMAGED_PRICE.values() else f"{float(row.price):.5f}"
        held.add((row.machine.name, row.region, "on-demand", price))
        if row.spot and float(row.spot) > 0:
            # A flag parts offers of one price; no two zones share a spot price but by such a trap.
            held.add((row.machine.name, row.region, "spot", f"{float(row.spot):.5f}"))
    return taken, len(held)


def _write(folder: Path, cloud: str, rows: list[_Row]) -> int:
    return _write_cells(folder, cloud, _PLAIN_COLUMNS, [_cells(row) for row in rows])


def _cells(row: _Row) -> tuple[str, ...]:
    machine = row.machine
    count = f"{machine.count:.1f}" if machine.count else ""
    return (
        machine.name, machine.accelerator, count, f"{machine.vcpus:.1f}", f"{machine.memory_gib:.1f}",
        _gpu_info(machine.accelerator, machine.count), row.price, row.spot, row.region, row.zone, machine.arch,
    )  # fmt: skip


def _gpu_info(name: str, count: int) -> str:
    if not name:
        return ""
    return (
        f"{{'Gpus': [{{'Name': '{name}', 'Manufacturer': 'NVIDIA', 'Count': {count}, 'LogicalGpuCount': {count}, "
        f"'GpuPartitionSize': 1.0, 'Workloads': ['graphics', 'ml-ai'], 'MemoryInfo': {{'SizeInMiB': 16384}}}}], "
        f"'TotalGpuMemoryInMiB': {16384 * count}}}"
    )


def _write_gcp(folder: Path, random: Random, wanted: int) -> tuple[int, int]:
    """Hosts, accelerators that are joined with them, TPU slices; rows and the offers that they hold."""
    rows: list[tuple[str, ...]] = []
    for region in _REGIONS:
        for zone in (f"{region}-a", f"{region}-b"):
            for name, accelerator, count, vcpus in _GCP_ATTACHED:
                host, usd = f"{vcpus * 0.04 * random.uniform(0.9, 1.1):.5f}", _ACCELERATORS[accelerator] * count
                spot, place = f"{float(host) * 0.4:.5f}", (region, zone)
                rows.append((name, f"{vcpus}.0", f"{vcpus * 8}.0", "", "", "", *place, host, spot))
                price = f"{usd * 0.6:.4f}"
                rows.append(("", "", "", accelerator, str(count), "", *place, price, f"{usd * random.random():.5f}"))
        for chips in (1, 4, 8, 16, 32, 64, 128, 256):
            name, price = f"tpu-v6e-{chips}", "700.0" if random.random() < 0.1 else f"{2.7 * chips:.2f}"
            rows.append(("", "", "", name, "1", name, region, f"{region}-b", price, f"{chips * 1.31:.5f}"))
    # Attached ones differ by zone; each is there on demand and spot.
    offers = len(_REGIONS) * (len(_GCP_ATTACHED) * 4 + 8 * 2)
    for machine in _machines("n2-", random):
        if machine.accelerator:
            continue
        for region in _REGIONS:
            usd = machine.usd * random.uniform(0.9, 1.3)
            cells = (machine.name, f"{machine.vcpus}.0", f"{machine.memory_gib}.0", "", "", "", region)
            for zone in ("a", "b", "c"):
                rows.append((*cells, f"{region}-{zone}", f"{usd:.5f}", f"{usd * 0.3:.5f}"))
            offers += 2
            if offers >= wanted:
                return _write_cells(folder, "gcp", _GCP_COLUMNS, rows), offers
    raise ValueError(f"GCP has fewer than {wanted} offers")


def _write_cells(folder: Path, cloud: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> int:
    path = folder / cloud / "vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return len(rows)
