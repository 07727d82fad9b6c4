"""Offer: one machine that can really be rented, from one region, at one price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A machine (or several equal ones) at a price; equal offers are equal objects."""

    cloud: str
    """Lower-case: aws, gcp, azure, lambda, runpod, nebius, slurm, local ..."""
    region: str | None
    """None where the source names none."""
    zones: tuple[str, ...] = ()
    """Zones of the region with exactly this price; empty where the source names none."""
    instance_type: str | None
    """The provider's name; on Slurm the partition; None where the cloud has none."""
    accelerator: str | None
    """SkyPilot's name, or None for a machine without one."""
    accelerator_count: float
    """Accelerators per node (a fraction on partitioned GPUs); 0 when there is none."""
    accelerator_memory_bytes: int | None
    """Per accelerator, from our table of specifications, never from a price catalog; None is unknown. For a machine
    without an accelerator: the memory that the job may use on the host."""
    num_nodes: int = 1
    vcpus: float | None
    host_memory_bytes: int | None
    use_spot: bool
    price_usd_per_hour: Decimal | None
    """All nodes together. None: unknown; such an offer is listed and never chosen."""
    price_source: str
    """Where the price comes from, for people: `SkyPilot catalog v8/aws`, `list price, aws.amazon.com, 2026-09`."""
    price_age_s: float | None
    """Seconds between the price's date and the time of reading; None is unknown."""
    flags: tuple[str, ...] = ()
    """Names of rules that noticed something: `placeholder_price`, `spot_above_on_demand` ..."""

    @property
    def key(self) -> str:
        """Stable, readable identity: cloud/region/instance/accelerator x count/on-demand or spot/nodes."""
        accelerator = f"{self.accelerator}:{self.accelerator_count:g}" if self.accelerator else "cpu"
        market = "spot" if self.use_spot else "on-demand"
        parts = [self.cloud, self.region or "-", self.instance_type or "-", accelerator, market]
        return "/".join(parts if self.num_nodes == 1 else [*parts, f"{self.num_nodes}n"])

    @property
    def title(self) -> str:
        """`aws us-east-1 g6.xlarge, 1 x L4, spot`: where, what, how."""
        place = " ".join(part for part in (self.cloud, self.region, self.instance_type) if part)
        return f"{place}, {self.devices}{', spot' if self.use_spot else ''}"

    @property
    def devices(self) -> str:
        """`2 nodes of 8 x H100`, `CPU`."""
        device = f"{self.accelerator_count:g} x {self.accelerator}" if self.accelerator else "CPU"
        return f"{self.num_nodes} nodes of {device}" if self.num_nodes > 1 else device

    @property
    def short_name(self) -> str:
        """`aws 1x L4`, `gcp 8x H100 x 2 nodes spot`: cloud and machine in a few words."""
        if self.accelerator is None:
            machine = self.instance_type or "CPU"
        else:
            machine = f"{self.accelerator_count:g}x {self.accelerator}"
        nodes = f" x {self.num_nodes} nodes" if self.num_nodes > 1 else ""
        return f"{self.cloud} {machine}{nodes}{' spot' if self.use_spot else ''}"


def position_of(offer: Offer, among: Sequence[Offer]) -> int | None:
    """Where an offer stands: the same one, else the same machine at another price or age; None: nowhere."""
    exact = next((position for position, other in enumerate(among) if other == offer), None)
    if exact is not None:
        return exact
    return next((position for position, other in enumerate(among) if other.key == offer.key), None)
