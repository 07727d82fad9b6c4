"""Machine: what an offer means for one job: replicas, memory and speed of each, or why the job cannot run there."""

from __future__ import annotations

from dataclasses import dataclass

from manager.catalog.accelerators import Accelerator
from manager.planner.assumptions import Assumptions
from manager.prices.offer import Offer
from manager.workload.device import Device, cpu_device, efficiency, gpu_device
from manager.workload.profile import WorkloadProfile

REASON_PROGRAM = "training program does not run there yet"
REASON_SPECIFICATION = "unknown accelerator"
REASON_SPEED = "unknown speed"
REASON_MEMORY = "unknown memory"
_HOST_SHARE = 0.9
"""Part of a host's memory that a job on the CPU may take; the rest is the system's."""
_GIGA = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One node, as the training program would use it: all its accelerators, data-parallel."""

    device: Device
    memory_bytes: float
    """That one replica may fill."""
    replicas: int


def machine_of(
    profile: WorkloadProfile, offer: Offer, accelerator: Accelerator | None, assumptions: Assumptions
) -> Machine | str:
    """The offer's machine, or the reason for which the job cannot be run or estimated there."""
    if offer.num_nodes != 1:
        return f"{REASON_PROGRAM}: {offer.num_nodes} nodes, it uses one"
    if is_arm(offer):
        # Neither SkyPilot's default images nor the assumed speed of a core were tried on ARM.
        return f"{REASON_PROGRAM}: the host has an ARM processor"
    if offer.accelerator is None:
        return _cpu_machine(offer, assumptions)
    if accelerator is None:
        return f"{REASON_SPECIFICATION}: no specification of {offer.accelerator}"
    if accelerator.kind != "gpu" or accelerator.vendor.upper() != "NVIDIA":
        what = "TPU" if accelerator.kind == "tpu" else f"{accelerator.vendor} {accelerator.kind.upper()}"
        return f"{REASON_PROGRAM}: {what}"
    unsupported = efficiency(accelerator.name).unsupported
    if unsupported is not None:
        return f"{REASON_PROGRAM}: {accelerator.name} {unsupported}"
    if profile.precision != "fp32" and not accelerator.supports_bf16:
        return f"{REASON_PROGRAM}: {accelerator.name} does not compute in bfloat16"
    count = offer.accelerator_count
    share = min(1.0, count)
    device = gpu_device(accelerator, precision=profile.precision, width=profile.hidden_size, share=share)
    if device is None:
        return f"{REASON_SPEED}: no rates of {accelerator.name} for {profile.precision}"
    memory_bytes = offer.accelerator_memory_bytes or accelerator.memory_bytes
    return Machine(device=device, memory_bytes=memory_bytes * share, replicas=max(1, int(count)))


def is_arm(offer: Offer) -> bool:
    """Whether the price source says that the host has an ARM processor."""
    return "arm64" in offer.flags


def _cpu_machine(offer: Offer, assumptions: Assumptions) -> Machine | str:
    memory_bytes = offer.accelerator_memory_bytes
    if memory_bytes is None:
        if offer.host_memory_bytes is None:
            return f"{REASON_MEMORY}: {offer.price_source} does not say how much the host has"
        memory_bytes = round(offer.host_memory_bytes * _HOST_SHARE)
    if not offer.vcpus:
        return f"{REASON_SPEED}: {offer.price_source} does not say how many vCPUs the host has"
    rate = assumptions.of("cpu_flops_per_vcpu", offer.cloud).value.expected * _GIGA
    bandwidth = assumptions.of("cpu_bandwidth_per_vcpu", offer.cloud).value.expected * _GIGA * offer.vcpus
    device = cpu_device(vcpus=offer.vcpus, flops_per_s_per_vcpu=rate, memory_bytes_per_s=bandwidth)
    return Machine(device=device, memory_bytes=memory_bytes, replicas=1)
