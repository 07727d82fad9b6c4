"""Link: the bandwidth at which devices of one job exchange gradients and weights.

Within a machine it comes from the catalog (NVLink and its like, else the PCI bus of the generation), between machines
from the network that the caller names, else the one that the maker builds in. A ring passes each byte over the slowest
part of its way, and the adapters of a machine carry one ring together, so a ring over machines runs at the lower of
link and network of a whole machine (NCCL tests, "bus bandwidth";
https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.catalog.accelerators import Accelerator

_LINK_REACHED = 0.75
"""Of one direction of NVLink: NCCL's all-reduce reaches 230 of 300 GB/s on A100, 360 of 450 on H100 (nccl-tests)."""
_BUS_REACHED = 0.65
"""Of one direction of PCIe x16. Assumption: copies through the host's root complex reach 55 to 80 %, by platform."""
_NETWORK_REACHED = 0.8
"""Assumption: of the adapters' rated speed, by collectives of many megabytes."""
_BRIDGED_DEVICES = 2
"""An NVLink bridge joins two cards; more of them meet on the bus."""
_NVLINK_LATENCY_S = 3.4e-6
_BUS_LATENCY_S = 5.7e-6
_NETWORK_LATENCY_S = 9.6e-6
"""Of one hop of a ring, by NCCL's own model (hwLat of its simple protocol in src/graph/tuning.cc, commit 01afd20)."""
_BUS_GENERATIONS = {
    "pascal": 16e9,
    "volta": 16e9,
    "turing": 16e9,
    "hopper": 64e9,
    "blackwell": 64e9,
    "blackwell-gddr": 64e9,
}
"""One direction of x16: PCIe 3 at 16 GB/s, PCIe 5 at 64 GB/s; the families between have PCIe 4."""
_BUS_PCIE4 = 32e9
_NETWORKS = {"hopper": 400e9, "blackwell": 400e9, "ampere-hbm": 200e9, "volta": 100e9}
"""One direction of all adapters of a machine of eight, as built by its maker for training on many (DGX H100: 8 x 400
Gbit/s, DGX A100: 8 x 200, DGX-2: 8 x 100; their system guides)."""
_CLOUD_NETWORK = 12.5e9
"""Assumption: 100 Gbit/s, what clouds attach to machines of several smaller cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What joins the devices of one job."""

    name: str
    """For people: `NVLink4`, `PCIe`, `NVLink3 and network`."""
    bytes_per_s: float
    """Reached by one device in one direction of a ring."""
    latency_s: float
    """Of one hop."""

    def gather_s(self, whole_bytes: float, devices: int) -> float:
        """Seconds of an all-gather to (or a reduce-scatter from) so many bytes on each of the devices."""
        if devices < 2 or whole_bytes <= 0:
            return 0.0
        return (devices - 1) / devices * whole_bytes / self.bytes_per_s + (devices - 1) * self.latency_s

    def reduce_s(self, whole_bytes: float, devices: int) -> float:
        """Seconds of an all-reduce: a reduce-scatter and an all-gather (Patarasuk & Yuan 2009, ring all-reduce)."""
        return 2 * self.gather_s(whole_bytes, devices)


def link_of(
    accelerator: Accelerator,
    *,
    family: str,
    devices: int,
    devices_per_node: int = 8,
    network_bytes_per_s: float | None = None,
) -> Link | None:
    """The link of so many devices; None for one device.

    Args:
        accelerator: specification from the catalog.
        family: its architecture, which tells the generation of its bus.
        devices: that take part, over all machines.
        devices_per_node: in one machine.
        network_bytes_per_s: one direction of all network adapters of a machine; None: as its maker builds them.
    """
    if devices < 2:
        return None
    within = _within_node(accelerator, family=family, devices=min(devices, devices_per_node))
    if devices <= devices_per_node:
        return within
    network = (network_bytes_per_s or _NETWORKS.get(family, _CLOUD_NETWORK)) * _NETWORK_REACHED
    joined = min(within.bytes_per_s, network) if devices_per_node > 1 else network
    # The hops between machines are among those of the ring; each is taken to be one of them.
    return Link(name=f"{within.name} and network", bytes_per_s=joined, latency_s=_NETWORK_LATENCY_S)


def _within_node(accelerator: Accelerator, *, family: str, devices: int) -> Link:
    link, both_directions = accelerator.interconnect, accelerator.interconnect_bytes_per_s
    bridged = link is not None and "bridge" in link
    if link is not None and both_directions is not None and not (bridged and devices > _BRIDGED_DEVICES):
        return Link(name=link, bytes_per_s=both_directions / 2 * _LINK_REACHED, latency_s=_NVLINK_LATENCY_S)
    rate = _BUS_GENERATIONS.get(family, _BUS_PCIE4) * _BUS_REACHED
    return Link(name="PCIe", bytes_per_s=rate, latency_s=_BUS_LATENCY_S)
