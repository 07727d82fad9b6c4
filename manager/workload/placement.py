"""Placement: how one training step is laid over devices; says nothing of which devices they are."""

from __future__ import annotations

from dataclasses import dataclass

SHARDINGS = ("none", "ddp", "fsdp")
SHARD_PRECISIONS = ("same", "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Devices that share one optimizer step."""

    replicas: int = 1
    """Data-parallel devices, each with its own micro-batch."""
    sharding: str = "none"
    """none: one device; ddp: each replica holds all; fsdp: weights, gradients and optimizer state are divided by the
    replicas (FSDP2 with resharding after forward, the same as ZeRO-3)."""
    cpu_offload: bool = False
    """Whether the shards and the optimizer live in the host's memory (FSDP's CPUOffloadPolicy)."""
    tensor_parallel: int = 1
    """Devices that share each layer's matrices."""
    shard_precision: str = "same"
    """Of FSDP's shards: `same` as the trace's weights; `fp32`: float32 shards that are gathered in the trace's type
    (MixedPrecisionPolicy)."""

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.tensor_parallel < 1:
            raise ValueError("a placement has at least one replica and one device per layer")
        if self.sharding not in SHARDINGS or self.shard_precision not in SHARD_PRECISIONS:
            raise ValueError(f"no such sharding: {self.sharding}, shards in {self.shard_precision}")
        if self.sharding == "none" and self.replicas > 1:
            raise ValueError("several replicas need ddp or fsdp")
        if self.cpu_offload and self.sharding != "fsdp":
            raise ValueError("only fsdp keeps its shards in the host's memory")

    @property
    def devices(self) -> int:
        """Accelerators altogether."""
        return self.replicas * self.tensor_parallel

    @property
    def is_sharded(self) -> bool:
        """Whether weights are divided by the replicas."""
        return self.sharding == "fsdp"


ONE_DEVICE = Placement()
