"""What is billed besides the machine: its disk, the traffic that brings results home, its public address.

Pure. Sizes come from the profile, prices from named assumptions; nothing free is assumed to be left of a provider's
monthly allowance. What lies in buckets is not counted here; `tunefare leftovers` tells what it costs a month.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.clouds import has_rented_disk
from manager.planner.assumptions import AssumedQuantity, Assumptions
from manager.planner.fixed_phases import WAITING
from manager.planner.plan import CostLine
from manager.units import GIB, HOURS_PER_MONTH, Interval, MoneyInterval
from manager.workload.profile import WorkloadProfile

LEAST_RENTED_GIB = 128
"""The fixed part of a task asks for it; SkyPilot's own default is 256."""
DISK, EGRESS, ADDRESS = "disk", "egress", "address"
"""Names of the lines of a bill."""
DATA_OUT, BUCKET_OUT = "data_egress", "bucket_egress"
"""The same of traffic by way of buckets (`planner.traffic`)."""
TRAFFIC = frozenset({EGRESS, DATA_OUT, BUCKET_OUT})
"""Billed once, whatever the hours."""
NOT_THE_MACHINE = frozenset({DISK, ADDRESS, WAITING, *TRAFFIC})
"""Lines of a bill that the machine's price is not in, whatever their unit and price."""
_STEP_GIB = 32
_HEADROOM = 1.1
"""File systems keep blocks for themselves and logs grow."""
_PREMIUM_TIERS_GIB = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32767)
_BEST_AND_NEW = 2
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskNeed:
    """What one node's disk has to hold at its fullest moment, in GiB."""

    image_gib: Interval
    """Operating system, driver; assumption `image_disk`."""
    environment_gib: Interval
    """Packages; assumption `environment_disk`."""
    weights_gib: float
    data_gib: float
    checkpoints_gib: Interval
    """Those that are kept, the best one, and the one that is being written."""
    export_gib: float
    """The tuned model."""

    @property
    def total_gib(self) -> Interval:
        """Of all of these."""
        fixed = self.weights_gib + self.data_gib + self.export_gib
        sizes = self.image_gib.plus(self.environment_gib).plus(self.checkpoints_gib)
        return sizes.plus(Interval(low=fixed, expected=fixed, high=fixed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """One thing that is billed besides the machine, at the price of an assumption."""

    name: str
    quantity: Interval
    unit: str
    """`GiB-month`, `GiB` or `h`."""
    price: AssumedQuantity
    """In USD a unit."""

    @property
    def unit_price_usd(self) -> Decimal:
        """The expected price."""
        return _decimal(self.price.value.expected)

    @property
    def total_usd(self) -> MoneyInterval:
        """Quantity times price, end by end: the price's own ends are in it."""
        return MoneyInterval.of(self.quantity, self.price.value)

    def line(self) -> CostLine:
        """As a line of the bill."""
        return CostLine(
            name=self.name,
            quantity=self.quantity,
            unit=self.unit,
            unit_price_usd=self.unit_price_usd,
            total_usd=self.total_usd,
            assumption=self.price.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraRates:
    """The same before the hours are known: dollars an hour and dollars once, for ranking."""

    usd_per_hour: Interval
    """Disks and addresses of all nodes."""
    usd_once: Interval
    """Traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideUsd:
    """What an offer costs besides its machines, at the high end of its bill: what a cap has to hold as well."""

    usd_per_hour: Decimal = Decimal(0)
    """Disks and addresses of all nodes, for each billed hour."""
    usd_once: Decimal = Decimal(0)
    """Traffic."""


NOTHING_BESIDE = SideUsd()


def side_usd(lines: Sequence[CostLine]) -> SideUsd:
    """What a bill has besides machines, by the hour and once."""
    billed_hours = sum(line.quantity.high for line in lines if line.name not in NOT_THE_MACHINE)
    hourly = sum((line.total_usd.high for line in lines if line.name in (DISK, ADDRESS)), Decimal(0))
    once = sum((line.total_usd.high for line in lines if line.name in TRAFFIC), Decimal(0))
    return SideUsd(usd_per_hour=hourly / _decimal(billed_hours) if billed_hours else Decimal(0), usd_once=once)


def disk_need(
    profile: WorkloadProfile, assumptions: Assumptions, *, cloud: str, keep_checkpoints: int, checkpoints: int
) -> DiskNeed:
    """What a node's disk has to hold.

    Args:
        profile: sizes of files; data lie as they come, since they are prepared in memory.
        assumptions: image and environment by cloud.
        cloud: where the machine is.
        keep_checkpoints: as the run file says (`training.keep_checkpoints`).
        checkpoints: written in the whole run.
    """
    image, environment = assumptions.of("image_disk", cloud), assumptions.of("environment_disk", cloud)
    size_gib = profile.checkpoint_bytes / GIB
    # An older one goes when the new one is whole; the best of all stays besides the newest.
    fewest, most = min(checkpoints, keep_checkpoints + 1), min(checkpoints, keep_checkpoints + _BEST_AND_NEW)
    return DiskNeed(
        image_gib=image.value,
        environment_gib=environment.value,
        weights_gib=profile.weights_bytes / GIB,
        data_gib=profile.data.bytes / GIB,
        checkpoints_gib=Interval(low=fewest * size_gib, expected=most * size_gib, high=most * size_gib),
        export_gib=profile.export_file_bytes / GIB,
    )


def rented_gib(need: DiskNeed, *, cloud: str) -> int:
    """The disk to ask for: what is needed at most and a tenth, in steps of 32 GiB, `LEAST_RENTED_GIB` at least.

    Where none is rented it is asked of a node that others use too: no more than is needed then.
    """
    wanted = need.total_gib.high * _HEADROOM
    if not has_rented_disk(cloud):
        return math.ceil(wanted)
    return max(LEAST_RENTED_GIB, math.ceil(wanted / _STEP_GIB) * _STEP_GIB)


def billed_gib(cloud: str, gib: int) -> int:
    """GiB on the bill for a disk of that size: Azure's premium SSDs cost as the next larger tier, others by the GiB.

    Source: learn.microsoft.com/azure/virtual-machines/disks-understand-billing.
    """
    if cloud != "azure":
        return gib
    return next((tier for tier in _PREMIUM_TIERS_GIB if tier >= gib), gib)


def disk_extra(assumptions: Assumptions, *, cloud: str, gib: int, hours: Interval, nodes: int = 1) -> Extra:
    """Disks of that size on so many nodes for so long."""
    months = billed_gib(cloud, gib) * nodes / HOURS_PER_MONTH
    price = assumptions.of("disk_price", cloud)
    return Extra(name=DISK, quantity=_rounded(hours.scaled(months)), unit="GiB-month", price=price)


def egress_extra(assumptions: Assumptions, *, cloud: str, sent_bytes: float) -> Extra:
    """What leaves the provider's network: the tuned model on its way home (`export_file_bytes`)."""
    gib = sent_bytes / GIB
    quantity = _rounded(Interval(low=gib, expected=gib, high=gib))
    return Extra(name=EGRESS, quantity=quantity, unit="GiB", price=assumptions.of("egress_price", cloud))


def address_extra(assumptions: Assumptions, *, cloud: str, hours: Interval, nodes: int = 1) -> Extra:
    """A public IPv4 address for each node; the quantity is hours of addresses."""
    price = assumptions.of("address_price", cloud)
    return Extra(name=ADDRESS, quantity=_rounded(hours.scaled(nodes)), unit="h", price=price)


def extra_rates(
    assumptions: Assumptions,
    *,
    cloud: str,
    gib: int,
    sent_bytes: float,
    nodes: int = 1,
    traffic: Sequence[Extra] = (),
) -> ExtraRates:
    """Dollars an hour and once, to rank machines by; bills are made of `Extra` lines."""
    disk = assumptions.of("disk_price", cloud).value.scaled(billed_gib(cloud, gib) * nodes / HOURS_PER_MONTH)
    address = assumptions.of("address_price", cloud).value.scaled(nodes)
    egress = assumptions.of("egress_price", cloud).value.scaled(sent_bytes / GIB)
    for extra in traffic:
        egress = egress.plus(extra.price.value.scaled(extra.quantity.expected))
    return ExtraRates(usd_per_hour=disk.plus(address), usd_once=egress)


def _rounded(quantity: Interval) -> Interval:
    return Interval(
        low=round(quantity.low, _DIGITS), expected=round(quantity.expected, _DIGITS), high=round(quantity.high, _DIGITS)
    )


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))
