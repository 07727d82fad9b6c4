"""Seconds of a step from its traced ops: a roofline per op, the host's issue of ops, the update and communication.

An op takes max(FLOPs / reached FLOP/s, bytes / reached bytes/s) (Williams et al. 2009, doi:10.1145/1498765.1498785)
plus the exposed part of the shorter of the two, and no less than a kernel's launch. Products add the instructions that
prepare and store their tiles while matrix units wait, convolutions the change of memory order, depthwise ones the sum
of arithmetic and bytes. A step takes the larger of the sum over its ops and of the time in which the host issues them,
then waits for the copy of its inputs; the update runs once per step. Constants are fitted
(`manager/workload/efficiencies.py`); the interval around the outcome is the fit's error on rows it had not seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from manager.units import Interval
from manager.workload.identity import Same
from manager.workload.link import Link
from manager.workload.optimizers import update_work
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
    copy_s: float
    """Of inputs from the host, for which the device waits."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """How devices share one optimizer step."""

    replicas: int = 1
    """Data-parallel devices (groups of `tensor_parallel` devices each)."""
    link: Link | None = None
    """Between the devices; None for one device."""
    sharding: str = "ddp"
    """One of SHARDINGS, for more than one replica."""
    tensor_parallel: int = 1
    """Devices that share each product."""

    def __post_init__(self) -> None:
        """Refuse what has no time.

        Raises:
            ValueError: several devices and no link, or an unknown sharding.
        """
        if self.sharding not in SHARDINGS:
            raise ValueError(f"unknown sharding {self.sharding!r}")
        if self.link is None and (self.replicas > 1 or self.tensor_parallel > 1):
            raise ValueError("several devices need a link")

    @property
    def shards_of_update(self) -> int:
        """Devices among which the optimizer's work is divided."""
        return self.tensor_parallel * (1 if self.sharding == "ddp" else self.replicas)


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
    optimizer: str | None = None,
    inputs_on_host: bool = True,
) -> StepTime:
    """One optimizer step of each of the data-parallel devices.

    Args:
        trace: of one micro-batch.
        speed: of one device.
        batch: samples of a micro-batch on one device.
        length: mean length of samples, padding included (time follows the mean).
        micro_batches: micro-steps per optimizer step, on each device.
        replicas: as in Sharing.
        link: as in Sharing.
        sharding: as in Sharing.
        tensor_parallel: as in Sharing.
        rank: LoRA rank, where the polynomials of the trace carry it.
        optimizer: whose update it is; None: the trace's own.
        inputs_on_host: whether each micro-batch is copied to the device; benchmarks may keep one there.

    Raises:
        UntimedWorkError: the device has no rate for a type that the step computes in.
        ValueError: several devices and no link, or an unknown sharding.
    """
    sharing = Sharing(replicas=replicas, link=link, sharding=sharding, tensor_parallel=tensor_parallel)
    busy = _busy(trace, speed, work_of(trace, batch=batch, length=length, rank=rank), sharing, optimizer)
    busy_s = micro_batches * (busy.forward_s + busy.backward_s) + busy.update_s
    issue_s = micro_batches * (busy.issue_s + speed.step_s) + busy.update_issue_s
    slowdown = max(1.0, issue_s / busy_s) if busy_s > 0 else 1.0
    forward_s, backward_s = busy.forward_s * slowdown, busy.backward_s * slowdown
    layer_bytes = evaluate(trace.layer_activation_bytes, batch=batch, length=length, rank=rank)
    communication_s = micro_batches * _tensor_exchange_s(trace, sharing, layer_bytes)
    communication_s += _data_exchange_s(
        trace, sharing, forward_s=forward_s, backward_s=backward_s, micro_batches=micro_batches
    )
    copy_s = micro_batches * _copy_s(trace, speed, batch, length) if inputs_on_host else 0.0
    return StepTime(
        # Not the sum of the parts: rounding would let a longer step come out shorter.
        total_s=max(busy_s, issue_s) + copy_s + communication_s,
        forward_s=forward_s * micro_batches,
        backward_s=backward_s * micro_batches,
        update_s=busy.update_s * slowdown,
        copy_s=copy_s,
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
    each = samples / (passes * replicas)
    phases = work_of(trace, batch=each, length=length, rank=rank)
    # A trace without a pass of its own for evaluation has none that is cheaper than the forward pass of training.
    phase = phases.get("evaluation") or phases["forward"]
    busy_s, issue_s = _phase_seconds(phase, speed, speed.issue_s, 1)
    return passes * (max(busy_s, issue_s) + _copy_s(trace, speed, each, length))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Busy:
    """Seconds of one micro-step and of one update."""

    forward_s: float
    """Of the device, as `backward_s` and `update_s`."""
    backward_s: float
    issue_s: float
    """Of the host, for both passes."""
    update_s: float
    update_issue_s: float
    """Of the host."""


def _busy(
    trace: StepTrace, speed: Speed, phases: Mapping[str, PhaseWork], sharing: Sharing, optimizer: str | None
) -> _Busy:
    forward_s, forward_issue_s = _phase_seconds(phases["forward"], speed, speed.issue_s, sharing.tensor_parallel)
    backward_s, backward_issue_s = _phase_seconds(
        phases["backward"], speed, speed.issue_backward_s, sharing.tensor_parallel
    )
    update_s, update_issue_s = _update_seconds(
        phases.get("update"), trace, speed, sharing.shards_of_update, optimizer or trace.optimizer
    )
    if sharing.replicas > 1:
        # Kernels that exchange data take multiprocessors and bandwidth from those that compute.
        forward_s *= 1.0 + (speed.interference if sharing.sharding == "fsdp" else 0.0)
        backward_s *= 1.0 + speed.interference
    return _Busy(
        forward_s=forward_s,
        backward_s=backward_s,
        issue_s=forward_issue_s + backward_issue_s,
        update_s=update_s,
        update_issue_s=update_issue_s,
    )


def _copy_s(trace: StepTrace, speed: Speed, batch: float, length: float) -> float:
    """A copy from pageable memory is staged by the host and ordered after what the device still computes."""
    inputs = next((point.lines["inputs"] for point in trace.memory if "inputs" in point.lines), {})
    return evaluate(inputs, batch=batch, length=length) / speed.copy_bytes_per_s


def _phase_seconds(work: PhaseWork, speed: Speed, issue_s_per_op: float, tensor_parallel: int) -> tuple[float, float]:
    """Seconds of the device and of the host."""
    busy_s = _busy_seconds(Same(work), Same(speed), tensor_parallel)
    return busy_s, work.ops * speed.software.ops_share * issue_s_per_op


@lru_cache(maxsize=16384)
def _busy_seconds(known_work: Same[PhaseWork], known_speed: Same[Speed], tensor_parallel: int) -> float:
    """Seconds of the device; remembered, since ways to share a step and numbers of steps do the same work.

    One loop, because a change in a job asks it for some hundred kinds of machines, each with some hundred groups.
    """
    work, speed = known_work.value, known_speed.value
    software, launch_s, rates = speed.software, speed.launch_s, speed.rates
    moved_share, least_moving_s = software.moved_share, launch_s * software.ops_share
    bandwidth, epilogue, exposed = speed.memory_bytes_per_s, speed.epilogue_s_per_byte, speed.exposed
    seconds = 0.0
    for group in work.groups:
        kind, moved_bytes = group.kind, group.bytes
        memory_s = moved_bytes / bandwidth
        if kind == MOVING:
            busy_s = memory_s * moved_share
            seconds += group.count * (busy_s if busy_s > least_moving_s else least_moving_s)
            continue
        if kind == NARROW:
            busy_s = _narrow_s(group, speed)
        else:
            rate = rates.get((kind, group.dtype))
            if rate is None:
                raise UntimedWorkError(f"{speed.name} has no known rate for {kind} in {group.dtype}")
            arithmetic_s = (group.flops / rate + moved_bytes * epilogue) / tensor_parallel
            memory_s /= tensor_parallel
            longer_s, shorter_s = (arithmetic_s, memory_s) if arithmetic_s > memory_s else (memory_s, arithmetic_s)
            busy_s = longer_s + exposed * shorter_s
            if kind == "convolution":
                busy_s += memory_s * speed.layout.get(group.dtype, 0.0)
        seconds += group.count * (busy_s if busy_s > launch_s else launch_s)
    return seconds


def _narrow_s(group: Ops, speed: Speed) -> float:
    """Of a convolution with few channels per group."""
    moved_s = group.bytes / speed.narrow_bytes_per_s.get(group.dtype, speed.memory_bytes_per_s)
    flops_per_s = speed.narrow_flops_per_s.get(group.dtype)
    return moved_s + (group.flops / flops_per_s if flops_per_s else 0.0)


def _update_seconds(
    work: PhaseWork | None, trace: StepTrace, speed: Speed, shards: int, optimizer: str
) -> tuple[float, float]:
    """Seconds of the device and of the host for the optimizer's part of this device."""
    if work is None:
        return 0.0, 0.0
    rate = speed.memory_bytes_per_s * shards
    busy_s = sum(group.count * max(group.bytes / rate, speed.launch_s) for group in work.groups)
    issue_s = work.ops * speed.issue_backward_s + trace.trainable.tensors * speed.tensor_s
    if optimizer != trace.optimizer:
        asked, traced = (update_work(name, trace.trainable) for name in (optimizer, trace.optimizer))
        kernels = asked.kernels - traced.kernels
        busy_s = max(0.0, busy_s + (asked.moved_bytes - traced.moved_bytes) / rate)
        issue_s = max(0.0, issue_s + kernels * speed.issue_backward_s)
    return busy_s, issue_s


def _tensor_exchange_s(trace: StepTrace, sharing: Sharing, layer_bytes: float) -> float:
    """All-reduces of one micro-step; they wait for the products before them and hold up those after."""
    if sharing.link is None or sharing.tensor_parallel < 2:
        return 0.0
    passes = 3 if trace.gradient_checkpointing else 2
    once_s = sharing.link.reduce_s(layer_bytes, sharing.tensor_parallel)
    return trace.layers * passes * _REDUCTIONS_PER_LAYER_PASS * once_s


def _data_exchange_s(
    trace: StepTrace, sharing: Sharing, *, forward_s: float, backward_s: float, micro_batches: float
) -> float:
    """Exchange of gradients and weights that computation does not hide, of one optimizer step."""
    link, replicas = sharing.link, sharing.replicas
    if link is None or replicas < 2:
        return 0.0
    gradient_bytes = trace.trainable.bytes / sharing.tensor_parallel
    if sharing.sharding == "ddp":
        exchange_s = link.reduce_s(gradient_bytes, replicas)
        last_s = link.reduce_s(min(gradient_bytes, _BUCKET_BYTES), replicas)
        return max(exchange_s - _OVERLAP * backward_s, last_s)
    if sharing.sharding == "zero2":
        scatter_s = link.gather_s(gradient_bytes, replicas)
        return max(scatter_s - _OVERLAP * backward_s, 0.0) + link.gather_s(gradient_bytes, replicas)
    gathered_bytes, stored_bytes = (
        size / sharing.tensor_parallel for size in (_gathered_bytes(trace), _stored_bytes(trace))
    )
    gather_s = link.gather_s(gathered_bytes, replicas)
    scatter_s = link.gather_s(gradient_bytes * gathered_bytes / max(stored_bytes, 1), replicas)
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
