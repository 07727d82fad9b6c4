"""How one job is best trained on one shape of machine: variant, sharding, micro-batch; whether it fits, how long it
computes. Pure, and the same for all clouds, markets and prices of the shape.

The search tries plain training first. Checkpointing trades a third of the arithmetic for memory, so it cannot win where
plain training takes a device's whole share of the batch at once. Sharding is there for memory too and is not asked for
before it is needed, although its messages in half precision can be quicker than those of whole gradients where links
are slow. Only where plain training does not take the whole share are they tried, and the configuration that computes
for the shortest time is taken. Its dollars are then the fewest too, since everything else that is billed does not
depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from manager.catalog.accelerators import Accelerator
from manager.planner.assumptions import Assumptions
from manager.planner.machine import DDP, FSDP, REASON_SPEED, Machine, machine_of
from manager.planner.shape import Shape
from manager.planner.variant import StepVariant
from manager.units import format_bytes
from manager.workload.build import even_micro_batch, micro_batch_limit
from manager.workload.host_memory import least_host_bytes
from manager.workload.memory_answer import EVALUATION_ROWS, MemoryAnswer, largest_micro_batch, memory_of
from manager.workload.memory_device import fit_margin
from manager.workload.profile import WorkloadProfile
from manager.workload.roofline import UntimedWorkError, evaluation_seconds, step_seconds
from manager.workload.traces import RunTraces

REASON_FIT = "does not fit"
SINGLE = "fp32"
REASON_BATCH = "batch cannot be shared"


class ComputeSeconds(NamedTuple):
    """Expected seconds of computation, before any band or calibration."""

    training_s: float
    test_s: float
    """One evaluation on the test set."""
    validation_s: float
    """All evaluations on the validation set."""

    @property
    def total_s(self) -> float:
        """With the baseline and the final evaluation."""
        return self.training_s + self.validation_s + 2 * self.test_s


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The best way to train on a shape, or why there is none."""

    variant: StepVariant
    machine: Machine | None = None
    """None when the job cannot be estimated there."""
    micro_batch: int | None = None
    """Samples per forward pass and device; None when not even the least fits."""
    memory: MemoryAnswer | None = None
    """At `micro_batch`, or at the least that was tried."""
    seconds: ComputeSeconds | None = None
    """None: see `reason`."""
    reason: str | None = None
    """Why it cannot be trained there; None: it can."""
    missing_bytes: float | None = None
    """How much less one replica has than the least micro-batch needs; None when it fits or was not judged."""

    @cached_property
    def least_host_bytes(self) -> float | None:
        """A host with less cannot carry it; None without an accelerator, and where the job was not judged."""
        if self.machine is None or self.machine.is_cpu or self.memory is None:
            return None
        return least_host_bytes(self.variant.profile, self.memory, self.machine.placement_on_node)

    @property
    def takes_whole_share(self) -> bool:
        """Whether one pass takes a device's whole share of the batch."""
        return self.machine is not None and self.micro_batch is not None and self._passes == 1

    @property
    def accumulation(self) -> int | None:
        """Forward passes per optimizer step and device."""
        return None if self.machine is None or self.micro_batch is None else self._passes

    @property
    def _passes(self) -> int:
        assert self.machine is not None
        assert self.micro_batch is not None
        return math.ceil(self.variant.profile.batch_size / self.machine.replicas / self.micro_batch)


def judge_shape(
    variants: Sequence[StepVariant],
    shape: Shape,
    accelerator: Accelerator | None,
    assumptions: Assumptions,
    *,
    memory_factor: float = 1.0,
    estimates_refused: bool = True,
) -> Judgement:
    """The configuration that computes for the shortest time among those that run and fit; else the nearest to that.

    Args:
        variants: of the job, at least one; the first precision in which it runs and fits is taken.
        shape: the kind of machine.
        accelerator: specification of its card; None: not in our table, or no card.
        assumptions: of the speed of cores.
        memory_factor: measured over estimated memory in own runs there, at least 1.
        estimates_refused: whether machines are estimated on which the training program does not run; it takes as long
            as for others, and they are a third of all kinds.
    """
    best: Judgement | None = None
    nearest: Judgement | None = None
    whole: set[tuple[str, bool, str]] = set()
    for variant, sharding in _ways(variants, shape):
        if best is not None and variant.profile.precision != best.variant.profile.precision:
            break
        precision, is_checkpointed = variant.profile.precision, variant.profile.gradient_checkpointing
        if any(way in whole for way in _simpler(precision, sharding, is_checkpointed=is_checkpointed)):
            continue
        machine = machine_of(variant.profile, shape, accelerator, assumptions, sharding=sharding)
        if isinstance(machine, str):
            found = Judgement(variant=variant, reason=machine)
        elif machine.refusal is not None and not estimates_refused:
            found = Judgement(variant=variant, machine=machine, reason=machine.refusal)
        else:
            found = _judged(variant, machine, memory_factor)
        if found.takes_whole_share:
            whole.add((precision, is_checkpointed, sharding))
        if found.reason is None:
            if best is None or _seconds(found) < _seconds(best):
                best = found
        elif nearest is None or _is_nearer(found, nearest):
            nearest = found
    chosen = best or nearest
    assert chosen is not None, "a job has at least one variant"
    return chosen


def _ways(variants: Sequence[StepVariant], shape: Shape) -> Iterator[tuple[StepVariant, str]]:
    """Each variant with each way to share it: by precision, then plain ones first, so that others may be skipped."""
    has_several = shape.devices > 1 or (shape.card or "").startswith("tpu-")
    # Precisions stand in the order in which they are wanted: a later one is there for machines without the earlier.
    wanted = list(dict.fromkeys(variant.profile.precision for variant in variants))
    ordered = sorted(
        variants,
        key=lambda variant: (wanted.index(variant.profile.precision), variant.profile.gradient_checkpointing),
    )
    if shape.card is None and any(variant.profile.precision == SINGLE for variant in ordered):
        # Most processors emulate 16 bits: where the precision is open, none is expected to gain by them.
        ordered = [variant for variant in ordered if variant.profile.precision == SINGLE]
    for variant in ordered:
        for sharding in variant.shardings if has_several else variant.shardings[:1]:
            yield variant, sharding


def _simpler(precision: str, sharding: str, *, is_checkpointed: bool) -> Iterator[tuple[str, bool, str]]:
    """Ways against which this one only saves memory: of no use where one of them takes the whole share."""
    if is_checkpointed:
        yield precision, False, sharding
    if sharding == FSDP:
        yield precision, is_checkpointed, DDP
    if is_checkpointed and sharding == FSDP:
        yield precision, False, DDP


def _seconds(judgement: Judgement) -> float:
    return math.inf if judgement.seconds is None else judgement.seconds.total_s


def _is_nearer(one: Judgement, other: Judgement) -> bool:
    """What could be estimated is nearer than what could not, then what the program runs, then what lacks less."""
    return (_seconds(one), _is_refused(one), _missing(one)) < (_seconds(other), _is_refused(other), _missing(other))


def _is_refused(judgement: Judgement) -> bool:
    return judgement.machine is None or judgement.machine.refusal is not None


def _missing(judgement: Judgement) -> float:
    return math.inf if judgement.missing_bytes is None else judgement.missing_bytes


def _judged(variant: StepVariant, machine: Machine, memory_factor: float) -> Judgement:
    """One configuration with the largest micro-batch that fits."""
    profile, traces = variant.profile, variant.traces
    limit = micro_batch_limit(profile, replicas=machine.replicas)
    if limit is None:
        reason = f"{REASON_BATCH}: {profile.batch_size} samples over {machine.replicas} devices"
        return Judgement(variant=variant, machine=machine, reason=machine.refusal or reason)
    largest, room = _largest(profile, traces, machine, memory_factor, limit)
    micro_batch = None if largest is None else even_micro_batch(limit, largest)
    least = 1 if profile.asked_micro_batch is None else limit
    memory = memory_on(profile, traces, machine, micro_batch=micro_batch or least)
    if micro_batch is None:
        missing = memory.needed_bytes - room
        lacks = (
            f"{REASON_FIT}: needs {format_bytes(machine.memory_bytes + missing)}, "
            f"has {format_bytes(machine.memory_bytes)}"
        )
        return Judgement(
            variant=variant,
            machine=machine,
            memory=memory,
            reason=machine.refusal or lacks,
            missing_bytes=missing,
        )
    try:
        seconds = _compute_seconds(profile, traces, machine, micro_batch)
    except UntimedWorkError as error:
        reason = machine.refusal or f"{REASON_SPEED}: {error}"
        return Judgement(variant=variant, machine=machine, memory=memory, reason=reason)
    return Judgement(
        variant=variant,
        machine=machine,
        micro_batch=micro_batch,
        memory=memory,
        seconds=seconds,
        reason=machine.refusal,
    )


def memory_on(profile: WorkloadProfile, traces: RunTraces, machine: Machine, *, micro_batch: int) -> MemoryAnswer:
    """Peak memory of one replica of the machine at this micro-batch."""
    share = micro_batch_limit(profile, replicas=machine.replicas)
    return memory_of(
        traces.on(is_cpu=machine.is_cpu),
        batch=micro_batch,
        length=profile.peak_length,
        device=machine.device,
        rank=traces.rank,
        optimizer=profile.optimizer,
        placement=machine.placement,
        accumulates=share is not None and micro_batch * machine.replicas < profile.batch_size,
    )


def _largest(
    profile: WorkloadProfile, traces: RunTraces, machine: Machine, memory_factor: float, limit: int
) -> tuple[int | None, float]:
    """The largest micro-batch that fits, and the bytes that it may need.

    Own runs say by how much tensors differ from their estimate; the room shrinks by that, the context apart.
    """
    margin = fit_margin(is_sharded=machine.placement.is_sharded).value
    context = 0 if machine.is_cpu else machine.device.context_bytes
    room = context + (machine.memory_bytes * (1 - margin) - context) / memory_factor
    largest = largest_micro_batch(
        traces.on(is_cpu=machine.is_cpu),
        limit=limit,
        memory_bytes=room,
        length=profile.peak_length,
        device=machine.device,
        rank=traces.rank,
        optimizer=profile.optimizer,
        placement=machine.placement,
        margin=0.0,
    )
    if largest is not None and profile.asked_micro_batch is not None and largest < limit:
        return None, room
    return largest, room


def _compute_seconds(profile: WorkloadProfile, traces: RunTraces, machine: Machine, micro_batch: int) -> ComputeSeconds:
    def evaluation_s(samples: int) -> float:
        return evaluation_seconds(
            traces.timed(is_cpu=machine.is_cpu),
            machine.speed,
            samples=samples,
            batch=EVALUATION_ROWS * micro_batch,
            length=profile.data.padded_tokens_at(EVALUATION_ROWS * micro_batch * machine.replicas),
            replicas=machine.replicas,
            rank=traces.rank or 0,
        )

    return ComputeSeconds(
        training_s=_training_s(profile, traces, machine, micro_batch),
        test_s=evaluation_s(profile.data.test_samples),
        validation_s=profile.evaluations * evaluation_s(profile.data.validation_samples),
    )


def _training_s(profile: WorkloadProfile, traces: RunTraces, machine: Machine, micro_batch: int) -> float:
    def step_s(samples: float) -> float:
        """One optimizer step over so many samples, in passes of equal size."""
        share = math.ceil(samples / machine.replicas)
        passes = math.ceil(share / micro_batch)
        step = step_seconds(
            traces.timed(is_cpu=machine.is_cpu),
            machine.speed,
            batch=share / passes,
            length=profile.mean_step_length(min(micro_batch, share) * machine.replicas),
            micro_batches=passes,
            replicas=machine.replicas,
            link=machine.link,
            sharding=machine.sharding if machine.replicas > 1 else DDP,
            rank=traces.rank or 0,
            optimizer=profile.optimizer,
        )
        return step.total_s

    short, rest = short_steps(profile)
    full_s = (profile.steps - short) * step_s(profile.batch_size) if profile.steps > short else 0.0
    return full_s + (short * step_s(rest) if short else 0.0)


def short_steps(profile: WorkloadProfile) -> tuple[int, float]:
    """Steps at the end of epochs that have less than a batch, and their mean samples.

    As few as can be with a sample each: a step takes about as long as a constant and its samples, so that the sum over
    the short steps does not depend on how what is missing is spread among them.
    """
    batch = profile.batch_size
    missing = profile.steps * batch - profile.samples_seen
    if missing <= 0 or batch == 1:
        return 0, 0.0
    short = min(profile.steps, math.ceil(missing / (batch - 1)))
    return short, max(1.0, batch - missing / short)
