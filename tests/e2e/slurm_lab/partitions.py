"""The partitions of the site: which nodes, which GPUs, at which price.

Owns the table alone. The prices are chosen so that two partitions sell the same GPU: a client that
ranks by dollars must pick `a100b`, and must fall over to `a100` when `a100b` is full.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One Slurm partition of equal nodes."""

    name: str
    """Partition name, also the stem of its nodes' names."""
    node_count: int
    """Nodes in the partition."""
    cpus_per_node: int
    """Logical CPUs that each node announces (the machine need not have them)."""
    memory_mib_per_node: int
    """Memory that each node announces, in MiB."""
    gpu: str | None = None
    """SkyPilot's accelerator name; None on a CPU partition."""
    gpus_per_node: int = 0
    """Null devices that stand for GPUs on each node."""
    price_usd_per_gpu_hour: Decimal | None = None
    """Price of one GPU for one hour; None where the site's CPU price holds."""

    def node_names(self) -> list[str]:
        """Name the nodes, `a100n1` and on."""
        return [f"{self.name}n{index}" for index in range(1, self.node_count + 1)]


PARTITIONS: tuple[Partition, ...] = (
    Partition(name="cpu", node_count=2, cpus_per_node=8, memory_mib_per_node=32_000),
    Partition(
        name="l4",
        node_count=1,
        cpus_per_node=32,
        memory_mib_per_node=128_000,
        gpu="L4",
        gpus_per_node=4,
        price_usd_per_gpu_hour=Decimal("0.80"),
    ),
    Partition(
        name="a100",
        node_count=2,
        cpus_per_node=64,
        memory_mib_per_node=500_000,
        gpu="A100",
        gpus_per_node=8,
        price_usd_per_gpu_hour=Decimal("3.67"),
    ),
    Partition(
        name="a100b",
        node_count=1,
        cpus_per_node=64,
        memory_mib_per_node=500_000,
        gpu="A100",
        gpus_per_node=8,
        price_usd_per_gpu_hour=Decimal("1.99"),
    ),
    Partition(
        name="h100",
        node_count=1,
        cpus_per_node=64,
        memory_mib_per_node=500_000,
        gpu="H100",
        gpus_per_node=8,
        price_usd_per_gpu_hour=Decimal("4.50"),
    ),
)


def find_partition(name: str) -> Partition:
    """Give the partition of that name.

    Raises:
        KeyError: the site has no such partition.
    """
    for partition in PARTITIONS:
        if partition.name == name:
            return partition
    raise KeyError(f"no partition {name!r}; the site has {[p.name for p in PARTITIONS]}")
