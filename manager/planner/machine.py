"""Machine: what a shape means for one job: replicas, memory and speed of each, or why the job cannot run there."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from manager.catalog.accelerators import Accelerator
from manager.planner.assumptions import Assumptions
from manager.planner.shape import LOCAL, Shape
from manager.workload.efficiencies import software
from manager.workload.link import Link, link_of
from manager.workload.memory_device import MemoryDevice, architecture_of, memory_device
from manager.workload.placement import ONE_DEVICE, Placement
from manager.workload.profile import WorkloadProfile
from manager.workload.speed import Speed, cpu_speed, speed_of
from tasks.shardable import sharding_refusal

DDP, FSDP = "ddp", "fsdp"
REASON_PROGRAM = "training program does not run there yet"
REASON_SPECIFICATION = "unknown accelerator"
REASON_SPEED = "unknown speed"
REASON_MEMORY = "unknown memory"
_HOST_SHARE = 0.9
"""Part of a host's memory that a job on the CPU may take; the rest is the system's."""
_GIGA = 1e9
_FLASH = "flash_attention_2"
_BEFORE_AMPERE = frozenset({"kepler", "maxwell", "pascal", "volta", "turing"})
"""FlashAttention 2 has no kernels for them (https://github.com/Dao-AILab/flash-attention, NVIDIA CUDA support)."""
_HALF_PRECISIONS = {"bf16": "bfloat16", "bf16-mixed": "bfloat16", "fp16-mixed": "float16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All nodes of a shape, as the training program would use them: every accelerator, data-parallel."""

    is_cpu: bool
    speed: Speed
    """Of one replica."""
    device: MemoryDevice
    """What one replica needs beside its tensors."""
    memory_bytes: float
    """That one replica may fill."""
    replicas: int
    """Over all nodes."""
    num_nodes: int = 1
    link: Link | None
    """Between replicas; None for one."""
    sharding: str = DDP
    """How several replicas share a step: ddp or fsdp."""
    refusal: str | None = None
    """Why the training program does not run there although it can be estimated; None: it runs."""

    @property
    def placement(self) -> Placement:
        """How a step is laid over the replicas."""
        return ONE_DEVICE if self.replicas == 1 else Placement(replicas=self.replicas, sharding=self.sharding)

    @property
    def placement_on_node(self) -> Placement:
        """The part of it that one host carries; a single device of a host may hold a part of the weights too."""
        if self.replicas == 1:
            return ONE_DEVICE
        return Placement(replicas=max(1, self.replicas // self.num_nodes), sharding=self.sharding)


def machine_of(
    profile: WorkloadProfile,
    shape: Shape,
    accelerator: Accelerator | None,
    assumptions: Assumptions,
    *,
    sharding: str = DDP,
) -> Machine | str:
    """The machine of a shape, or the reason for which the job cannot be estimated there.

    Args:
        profile: what the run demands.
        shape: the kind of machine.
        accelerator: specification of its card; None: not in our table, or no card.
        assumptions: of the speed of cores.
        sharding: ddp or fsdp, for several devices.
    """
    if shape.is_arm:
        # Neither SkyPilot's default images nor the assumed speed of a core were tried on ARM.
        return f"{REASON_PROGRAM}: the host has an ARM processor"
    if shape.card is None:
        return _cpu_machine(profile, shape, assumptions)
    if accelerator is None:
        return f"{REASON_SPECIFICATION}: no specification of {shape.card}"
    return _accelerated(profile, shape, accelerator, sharding)


def _accelerated(profile: WorkloadProfile, shape: Shape, accelerator: Accelerator, sharding: str) -> Machine | str:
    is_tpu = accelerator.kind == "tpu"
    share = min(1.0, shape.card_count)
    speed = _speed(accelerator, share)
    if speed is None:
        return f"{REASON_SPEED}: no rates of {accelerator.name} for {profile.precision}"
    on_node = max(1, int(shape.card_count)) * accelerator.chips
    replicas = on_node * shape.num_nodes
    memory_bytes = accelerator.memory_bytes if is_tpu else shape.card_memory_bytes or accelerator.memory_bytes
    return Machine(
        is_cpu=False,
        speed=speed,
        device=memory_device(accelerator.name),
        memory_bytes=memory_bytes * share,
        replicas=replicas,
        num_nodes=shape.num_nodes,
        link=link_of(accelerator, family=speed.family, devices=replicas, devices_per_node=on_node),
        sharding=sharding,
        refusal=refusal_of(profile, accelerator, cloud=shape.place, replicas=replicas)
        or _sharding_refusal(profile, sharding),
    )


@lru_cache(maxsize=1024)
def _speed(accelerator: Accelerator, share: float) -> Speed | None:
    """Of one device; remembered, since each number of a card and each cloud asks for it."""
    return speed_of(accelerator, software=software("xla" if accelerator.kind == "tpu" else "eager"), share=share)


def _sharding_refusal(profile: WorkloadProfile, sharding: str) -> str | None:
    if sharding != FSDP:
        return None
    refused = sharding_refusal(
        method=profile.method, optimizer=profile.optimizer, loss=profile.loss, precision=profile.precision
    )
    return None if refused is None else f"{REASON_PROGRAM}: {refused[0]} is not sharded, {refused[1]}"


def refusal_of(
    profile: WorkloadProfile, accelerator: Accelerator, *, cloud: str = LOCAL, replicas: int = 1
) -> str | None:
    """Why the training program does not run the job on so many of this accelerator; None: it does.

    Args:
        profile: what the run demands.
        accelerator: specification of one device.
        cloud: where it is; elsewhere than here, a job has the packages that the set-up installs.
        replicas: devices that share each batch.
    """
    if accelerator.kind != "gpu" or accelerator.vendor.upper() != "NVIDIA":
        kinds = {"tpu": "TPU", "gpu": f"{accelerator.vendor} GPU"}
        what = kinds.get(accelerator.kind, accelerator.name)
        return f"{REASON_PROGRAM}: {what}"
    architecture = architecture_of(accelerator.name) or ""
    unsupported = _unsupported().get(architecture)
    if unsupported is not None:
        return f"{REASON_PROGRAM}: {accelerator.name} {unsupported}"
    if _HALF_PRECISIONS.get(profile.precision) == "bfloat16" and not accelerator.supports_bf16:
        return f"{REASON_PROGRAM}: {accelerator.name} does not compute in bfloat16"
    if profile.attention == _FLASH and architecture in _BEFORE_AMPERE:
        return f"{REASON_PROGRAM}: {_FLASH} needs Ampere or newer, {accelerator.name} is older"
    if profile.attention == _FLASH and cloud != LOCAL:
        return f"{REASON_PROGRAM}: {_FLASH} needs the package flash-attn, which the set-up does not install"
    if profile.loss == "chunked" and replicas > 1:
        return f"{REASON_PROGRAM}: loss chunked is for one device, this machine has {replicas}"
    return None


def _cpu_machine(profile: WorkloadProfile, shape: Shape, assumptions: Assumptions) -> Machine | str:
    if profile.precision == "fp16-mixed":
        return f"{REASON_PROGRAM}: a CPU trains no float16"
    if profile.attention == _FLASH:
        return f"{REASON_PROGRAM}: {_FLASH} runs on GPUs only"
    if shape.num_nodes > 1:
        return f"{REASON_PROGRAM}: {shape.num_nodes} machines without an accelerator"
    memory_bytes = shape.card_memory_bytes
    if memory_bytes is None:
        if shape.host_memory_bytes is None:
            return f"{REASON_MEMORY}: the price source does not say how much the host has"
        memory_bytes = round(shape.host_memory_bytes * _HOST_SHARE)
    if not shape.vcpus:
        return f"{REASON_SPEED}: the price source does not say how many vCPUs the host has"
    rate = assumptions.of("cpu_flops_per_vcpu", shape.place).value.expected * _GIGA
    bandwidth = assumptions.of("cpu_bandwidth_per_vcpu", shape.place).value.expected * _GIGA * shape.vcpus
    speed = cpu_speed(
        vcpus=shape.vcpus,
        flops_per_s_per_vcpu=rate,
        memory_bytes_per_s=bandwidth,
        software=software("eager"),
        basis=f"{shape.vcpus:g} vCPU at {rate / _GIGA:g} GFLOP/s each, {bandwidth / _GIGA:g} GB/s",
    )
    return Machine(
        is_cpu=True, speed=speed, device=memory_device(None), memory_bytes=memory_bytes, replicas=1, link=None
    )


@lru_cache(maxsize=1)
def _unsupported() -> dict[str, str]:
    """Why PyTorch as the set-up installs it does not run on GPUs of an architecture."""
    text = files("manager.planner").joinpath("data", "unsupported.csv").read_text(encoding="utf-8")
    return {row["architecture"]: row["reason"] for row in csv.DictReader(text.splitlines())}
