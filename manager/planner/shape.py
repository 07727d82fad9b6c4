"""Shape: all of a machine that a job's fit and speed depend on; thousands of rentals share a few hundred shapes."""

from __future__ import annotations

from typing import NamedTuple

from manager.catalog.accelerators import variant_in
from manager.prices.market import Rental
from manager.prices.offer import Offer

LOCAL = "local"
_ANY_CLOUD = "*"


class Shape(NamedTuple):
    """One kind of machine, one or several equal nodes of it; a tuple, because it is looked up by the thousand."""

    place: str
    """`local`; else the cloud of a machine without an accelerator, whose cores are assumed per cloud; else `*`."""
    card: str | None
    """Our name of the accelerator, None without one."""
    card_count: float
    """Accelerators of a node; a fraction on partitioned GPUs."""
    num_nodes: int
    card_memory_bytes: int | None
    """Per accelerator; without one what the job may use of the host."""
    is_arm: bool
    vcpus: float | None
    """None with an accelerator, where cores do not set the pace."""
    host_memory_bytes: int | None
    """The same."""

    @property
    def devices(self) -> int:
        """Accelerators over all nodes, TPU chips apart; 1 without one."""
        return max(1, int(self.card_count)) * self.num_nodes


def shape_of(machine: Rental | Offer, *, num_nodes: int = 1) -> Shape:
    """The shape of a rental, or of the machine of an offer."""
    name = machine.accelerator
    has_card = name is not None
    place = machine.cloud if not has_card or machine.cloud == LOCAL else _ANY_CLOUD
    return Shape(
        place=place,
        card=None
        if name is None
        else variant_in(name, instance_type=machine.instance_type, count=machine.accelerator_count),
        card_count=machine.accelerator_count,
        num_nodes=num_nodes,
        card_memory_bytes=machine.accelerator_memory_bytes,
        # The price source says so.
        is_arm="arm64" in machine.flags,
        vcpus=None if has_card else machine.vcpus,
        host_memory_bytes=None if has_card else machine.host_memory_bytes,
    )
