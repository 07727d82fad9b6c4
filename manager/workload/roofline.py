"""Seconds of a step from its traced ops: a roofline per op, the host's issue of ops, the update and communication.

An op takes max(FLOPs / reached FLOP/s, bytes / reached bytes/s) (Williams et al. 2009, doi:10.1145/1498765.1498785)
plus the exposed part of the shorter of the two, and no less than a kernel's launch. A step takes the larger of their
sum and of the time in which the host issues them; the update runs once per step. Constants are fitted
(`manager/workload/efficiencies.py`); the interval around the outcome is the fit's own error on sources it had not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from manager.units import Interval
from manager.workload.link import Link
from manager.workload.speed import Speed
from manager.workload.work import MOVING, NARROW, Ops, PhaseWork, work_of
from tasks.step_trace import StepTrace, evaluate

SHARDINGS = ("ddp", "zero2", "fsdp")
"""How data-parallel devices share state: gradients all-reduced; gradients scattered, weights whole (ZeRO-2); weights
gathered for each use (FSDP full shard, ZeRO-3)."""
_OVERLAP = 0.9
"""Part of the backward pass under which gradients can travel: buckets leave as they fill, the first after a while."""
_BUCKET_BYTES = 25 * 2**20
"""DistributedDataParallel's default bucket; the last one has no computation left to hide under."""
_HALF_BYTES = 2
_REDUCTIONS_PER_LAYER_PASS = 2
"""Tensor parallelism: one all-reduce after attention, one after the MLP (Shoeybi et al. 2019, arXiv:1909.08053)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Expected seconds of one optimizer step, and what they are spent on."""

    total_s: float
    forward_s: float
    """Of all micro-steps."""
    backward_s: float
    """Of all micro-steps, recomputation of checkpointed layers included."""
    update_s: float
    communication_s: float
    """That nothing hides."""
    issue_bound: bool
    """Whether the host's issue of ops sets the time of the step, not the device."""
    band: Interval
    """Factor on the total: the fit's error."""

    def interval(self) -> Interval:
        """Low, expected and high seconds of one optimizer step."""
        return self.band.scaled(self.total_s)


class UntimedWorkError(ValueError):
    """Work in a type for which the device has no known rate."""


def step_seconds(
    trace: StepTrace,
    speed: Speed,
    *,
    batch: float,
    length: float,
    micro_batches: float = 1,
    replicas: int = 1,
    link: Link | None = None,
    sharding: str = "ddp",
    tensor_parallel: int = 1,
    rank: int = 0,
) -> StepTime:
    """One optimizer step of each of the data-parallel devices.

    Args:
        trace: of one micro-batch.
        speed: of one device.
        batch: samples of a micro-batch on one device.
        length: mean length of samples, padding included (time follows the mean).
        micro_batches: micro-steps per optimizer step, on each device.
        replicas: data-parallel devices (groups of `tensor_parallel` devices each).
        link: between the devices; None for one device.
        sharding: one of SHARDINGS, for more than one replica.
        tensor_parallel: devices that share each product.
        rank: LoRA rank, where the polynomials of the trace carry it.

    Raises:
        UntimedWorkError: the device has no rate for a type that the step computes in.
        ValueError: several devices and no link, or an unknown sharding.
    """
    if sharding not in SHARDINGS:
        raise ValueError(f"unknown sharding {sharding!r}")
    if link is None and (replicas > 1 or tensor_parallel > 1):
        raise ValueError("several devices need a link")
    phases = work_of(trace, batch=batch, length=length, rank=rank)
    forward_s, forward_issue_s = _phase_seconds(phases["forward"], speed, speed.issue_s, tensor_parallel)
    backward_s, backward_issue_s = _phase_seconds(phases["backward"], speed, speed.issue_backward_s, tensor_parallel)
    update = phases.get("update")
    shards = tensor_parallel * (1 if sharding == "ddp" else replicas)
    update_s, update_issue_s = _update_seconds(update, speed, shards) if update is not None else (0.0, 0.0)
    if replicas > 1:
        # Kernels that exchange data take multiprocessors and bandwidth from those that compute.
        forward_s *= 1.0 + (speed.interference if sharding == "fsdp" else 0.0)
        backward_s *= 1.0 + speed.interference
    busy_s = micro_batches * (forward_s + backward_s) + update_s
    issue_s = micro_batches * (forward_issue_s + backward_issue_s + speed.step_s) + update_issue_s
    slowdown = max(1.0, issue_s / busy_s) if busy_s > 0 else 1.0
    forward_s, backward_s, update_s = forward_s * slowdown, backward_s * slowdown, update_s * slowdown
    communication_s = 0.0
    if link is not None:
        layer_bytes = evaluate(trace.layer_activation_bytes, batch=batch, length=length, rank=rank)
        communication_s = micro_batches * _tensor_exchange_s(trace, link, layer_bytes, tensor_parallel)
        communication_s += _data_exchange_s(
            trace,
            link,
            forward_s=forward_s,
            backward_s=backward_s,
            micro_batches=micro_batches,
            replicas=replicas,
            sharding=sharding,
            tensor_parallel=tensor_parallel,
        )
    return StepTime(
        # Not the sum of the parts: rounding would let a longer step come out shorter.
        total_s=max(busy_s, issue_s) + communication_s,
        forward_s=forward_s * micro_batches,
        backward_s=backward_s * micro_batches,
        update_s=update_s,
        communication_s=communication_s,
        issue_bound=slowdown > 1.0,
        band=speed.band,
    )


def evaluation_seconds(
    trace: StepTrace, speed: Speed, *, samples: float, batch: float, length: float, replicas: int = 1, rank: int = 0
) -> float:
    """Expected seconds of forward passes without gradients over so many samples of this mean length."""
    if samples <= 0:
        return 0.0
    passes = math.ceil(samples / (batch * replicas))
    phases = work_of(trace, batch=samples / (passes * replicas), length=length, rank=rank)
    # A trace without a pass of its own for evaluation has none that is cheaper than the forward pass of training.
    phase = phases.get("evaluation") or phases["forward"]
    busy_s, issue_s = _phase_seconds(phase, speed, speed.issue_s, 1)
    return passes * max(busy_s, issue_s)


def _phase_seconds(work: PhaseWork, speed: Speed, issue_s_per_op: float, tensor_parallel: int) -> tuple[float, float]:
    """Seconds of the device and of the host."""
    seconds = sum(_group_seconds(group, speed, tensor_parallel) for group in work.groups)
    return seconds, work.ops * speed.software.ops_share * issue_s_per_op


def _group_seconds(group: Ops, speed: Speed, tensor_parallel: int) -> float:
    software = speed.software
    memory_s = group.bytes / speed.memory_bytes_per_s
    if group.kind == MOVING:
        return group.count * max(memory_s * software.moved_share, speed.launch_s * software.ops_share)
    if group.kind == NARROW:
        narrow = speed.narrow_bytes_per_s.get(group.dtype, speed.memory_bytes_per_s)
        return group.count * max(group.bytes / narrow, speed.launch_s)
    rate = speed.rates.get((group.kind, group.dtype))
    if rate is None:
        raise UntimedWorkError(f"{speed.name} has no known rate for {group.kind} in {group.dtype}")
    arithmetic_s, memory_s = group.flops / rate / tensor_parallel, memory_s / tensor_parallel
    busy_s = max(arithmetic_s, memory_s) + speed.exposed * min(arithmetic_s, memory_s)
    return group.count * max(busy_s, speed.launch_s)


def _update_seconds(work: PhaseWork, speed: Speed, shards: int) -> tuple[float, float]:
    """Seconds of the device and of the host for the optimizer's part of this device."""
    rate = speed.memory_bytes_per_s * shards
    busy_s = sum(group.count * max(group.bytes / rate, speed.launch_s) for group in work.groups)
    return busy_s, work.ops * speed.issue_backward_s


def _tensor_exchange_s(trace: StepTrace, link: Link, layer_bytes: float, devices: int) -> float:
    """All-reduces of one micro-step; they wait for the products before them and hold up those after."""
    if devices < 2:
        return 0.0
    passes = 3 if trace.gradient_checkpointing else 2
    return trace.layers * passes * _REDUCTIONS_PER_LAYER_PASS * link.reduce_s(layer_bytes, devices)


def _data_exchange_s(
    trace: StepTrace,
    link: Link,
    *,
    forward_s: float,
    backward_s: float,
    micro_batches: float,
    replicas: int,
    sharding: str,
    tensor_parallel: int,
) -> float:
    """Exchange of gradients and weights that computation does not hide, of one optimizer step."""
    if replicas < 2:
        return 0.0
    gradient_bytes = trace.trainable.bytes / tensor_parallel
    if sharding == "ddp":
        exchange_s = link.reduce_s(gradient_bytes, replicas)
        last_s = link.reduce_s(min(gradient_bytes, _BUCKET_BYTES), replicas)
        return max(exchange_s - _OVERLAP * backward_s, last_s)
    if sharding == "zero2":
        scatter_s = link.gather_s(gradient_bytes, replicas)
        return max(scatter_s - _OVERLAP * backward_s, 0.0) + link.gather_s(gradient_bytes, replicas)
    gathered_bytes = _gathered_bytes(trace) / tensor_parallel
    gather_s = link.gather_s(gathered_bytes, replicas)
    scatter_s = link.gather_s(
        gradient_bytes * gathered_bytes / max(_stored_bytes(trace) / tensor_parallel, 1), replicas
    )
    layers = max(trace.layers, 1)
    exposed_s = max(gather_s - _OVERLAP * forward_s, gather_s / layers)
    exposed_s += max(gather_s + scatter_s - _OVERLAP * backward_s, scatter_s / layers)
    return micro_batches * exposed_s


def _stored_bytes(trace: StepTrace) -> float:
    return evaluate(trace.weights_bytes, batch=0, length=0)


def _gathered_bytes(trace: StepTrace) -> float:
    """Weights as sharded training gathers them: in the compute type under mixed precision, else as stored."""
    stored = _stored_bytes(trace)
    return stored if trace.precision in ("fp32", "bf16", "fp16") else min(stored, trace.parameters * _HALF_BYTES)
