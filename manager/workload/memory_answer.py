"""The memory answer: peak of one device by line, the fit, and the largest micro-batch; pure, from a StepTrace.

allocated: what tensors and library workspaces take, at the highest moment. reserved: what the caching allocator holds
from the driver. total: reserved and the context, which is what nvidia-smi shows. needed: total without the cached
blocks that the allocator gives back before it fails (`garbage` of CUDACachingAllocator: on a failed cudaMalloc all free
blocks are released and the request is tried again). A fit is decided on needed.

Saving: the training program writes a checkpoint tensor by tensor, each copied to the host and none on the device; so
saving needs weights and optimizer state, for adapters the product of one layer on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from manager.workload.identity import ByIdentity
from manager.workload.memory_device import MemoryDevice, fit_margin
from manager.workload.memory_model import MERGING_METHODS, MemoryModel, Moment, Static, memory_model
from manager.workload.placed_moments import (
    evaluation_moments,
    saving_moment,
    shard_factor,
    split_static,
    training_moments,
)
from manager.workload.placement import ONE_DEVICE, Placement
from manager.workload.reserve import reserve_of
from tasks.step_trace import StepTrace

EVALUATION_ROWS = 2
"""Samples of an evaluation batch per sample of the micro-batch, as the training program takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAnswer:
    """Memory of one device in bytes; the lines are those of the highest moment and add up to `total_bytes`."""

    phase: str
    """Of the highest moment: forward, backward, update, evaluation or saving."""
    weights: int
    gradients: int
    """DDP's buckets among them."""
    optimizer_state: int
    weight_copies: int
    """Autocast's copies; FSDP's gathered layers."""
    activations: int
    checkpoint_stash: int
    loss_chain: int
    temporaries: int
    inputs: int
    workspace: int
    """cuBLAS; NCCL's buffers, which lie outside the allocator, are in `context`."""
    allocator_reserve: int
    context: int
    reclaimable_bytes: int
    """Of the reserve: given back before the allocator fails."""
    training_bytes: int
    """Total at the highest moment of training."""
    evaluation_bytes: int
    save_bytes: int
    host_bytes: int
    """In the host's memory for this device: offloaded shards, and a copy of a checkpoint's largest tensor."""
    basis: str
    """How the constants came about, for people."""

    def lines(self) -> dict[str, int]:
        """Bytes by line, in the order in which they are shown."""
        return {name: getattr(self, name) for name in MEMORY_LINES}

    @property
    def allocated_bytes(self) -> int:
        """Tensors and workspaces: torch.cuda.max_memory_allocated."""
        return self.total_bytes - self.allocator_reserve - self.context

    @property
    def reserved_bytes(self) -> int:
        """torch.cuda.max_memory_reserved, with room to spare."""
        return self.total_bytes - self.context

    @property
    def total_bytes(self) -> int:
        """What nvidia-smi shows for the process, with room to spare."""
        return sum(self.lines().values())

    @property
    def needed_bytes(self) -> int:
        """The least memory in which the step runs."""
        return self.total_bytes - self.reclaimable_bytes


MEMORY_LINES = (
    "weights",
    "gradients",
    "optimizer_state",
    "weight_copies",
    "activations",
    "checkpoint_stash",
    "loss_chain",
    "temporaries",
    "inputs",
    "workspace",
    "allocator_reserve",
    "context",
)


def memory_of(
    trace: StepTrace,
    *,
    batch: int,
    length: int,
    device: MemoryDevice,
    rank: int | None = None,
    evaluation_batch: int | None = None,
    optimizer: str | None = None,
    placement: Placement = ONE_DEVICE,
    accumulates: bool = False,
) -> MemoryAnswer:
    """Peak memory of one device.

    Args:
        trace: of the step that is run.
        batch: samples of a micro-batch on one device.
        length: of the longest sample; the peak follows it, not the mean.
        device: what the device adds to tensors.
        rank: LoRA rank, where the trace holds for any.
        evaluation_batch: samples of an evaluation batch; None: twice the micro-batch.
        optimizer: None: the traced one.
        placement: how many devices, and what they share.
        accumulates: whether several micro-batches make one optimizer step.

    Raises:
        ValueError: the rank is missing, or not that of the trace.
        KeyError: no such optimizer.
    """
    name = optimizer or trace.optimizer
    rows = EVALUATION_ROWS * batch if evaluation_batch is None else evaluation_batch
    step = _step(ByIdentity(trace), batch, rows, length, rank, name, placement, accumulates)
    stands = _Standing.of(step, placement, device)
    peak = max(step.tops, key=_bytes)
    lines = stands.lines(peak)
    totals = [sum(stands.lines(top).values()) for top in step.tops]
    return MemoryAnswer(
        phase=peak.phase,
        **lines,
        reclaimable_bytes=stands.reclaimable,
        training_bytes=totals[0],
        evaluation_bytes=totals[1],
        save_bytes=totals[2],
        host_bytes=stands.host,
        basis=device.basis,
    )


class _Step(NamedTuple):
    """What a device holds during one step, apart from what kind of device it is: many cards share one answer."""

    model: MemoryModel
    static: Static
    tops: tuple[Moment, Moment, Moment]
    """Highest moments of training, of evaluation and of saving."""
    alive: float
    """The most that comes and goes within forward and backward, in bytes."""
    loss_chain: float
    """The longest of all moments, in bytes."""
    replayed: tuple[float, float] | None
    """Bytes cached by the allocator, and those of them that it cannot give back; None where no replay holds."""


@lru_cache(maxsize=1024)
def _step(
    key: ByIdentity,
    batch: int,
    rows: int,
    length: int,
    rank: int | None,
    optimizer: str,
    placement: Placement,
    accumulates: bool,
) -> _Step:
    trace = key.trace
    model = memory_model(trace)
    at = model.at(batch=batch, length=length, rank=rank)
    at_evaluation = model.at(batch=rows, length=length, rank=rank)
    static = split_static(model.static(at, optimizer), placement)
    training = list(training_moments(model, at, static, placement, optimizer=optimizer, accumulates=accumulates))
    evaluation = list(evaluation_moments(model, at_evaluation, static, placement))
    saving = saving_moment(model, static, placement, merges=trace.method in MERGING_METHODS)
    moments = [*training, *evaluation]
    # The replay holds for the step that was traced; what is divided over devices is another one.
    is_whole = not placement.is_sharded and placement.tensor_parallel == 1 and optimizer == trace.optimizer
    return _Step(
        model=model,
        static=static,
        # The moments with nothing of their own stand for a trace that lists none.
        tops=(max(training, key=_bytes), max(evaluation or [saving], key=_bytes), saving),
        alive=max((_changing(moment) for moment in moments), default=0.0),
        loss_chain=max((moment.loss_chain for moment in moments), default=0.0),
        replayed=reserve_of(trace, batch=batch, length=length) if is_whole else None,
    )


def fits(
    answer: MemoryAnswer, memory_bytes: float, margin: float | None = None, *, placement: Placement = ONE_DEVICE
) -> bool:
    """Whether the step runs in this much memory with `margin` (a share) of it to spare; None: the table's margin."""
    spare = fit_margin(is_sharded=placement.is_sharded).value if margin is None else margin
    return answer.needed_bytes <= memory_bytes * (1 - spare)


def shown_bytes(answer: MemoryAnswer, memory_bytes: float) -> float:
    """What nvidia-smi is expected to show on a device of this size, where cached blocks give way."""
    return max(answer.needed_bytes, min(answer.total_bytes, memory_bytes))


def largest_micro_batch(
    trace: StepTrace,
    *,
    limit: int,
    memory_bytes: float,
    length: int,
    device: MemoryDevice,
    rank: int | None = None,
    optimizer: str | None = None,
    placement: Placement = ONE_DEVICE,
    margin: float | None = None,
    evaluation_rows: int = EVALUATION_ROWS,
) -> int | None:
    """The largest micro-batch that fits, at most `limit` (one device's share of the batch); None when not even 1 does.

    Exact: memory never falls with the batch. Below `limit` gradients are accumulated, which may need more than the
    whole share at once; so the share is tried first.
    """

    key, name, any_device = ByIdentity(trace), optimizer or trace.optimizer, replace(device, name="", basis="")
    spare = fit_margin(is_sharded=placement.is_sharded).value if margin is None else margin
    room = memory_bytes * (1 - spare)

    def runs(batch: int) -> bool:
        rows = evaluation_rows * batch
        return _needed(key, batch, rows, length, rank, name, placement, batch < limit, any_device) <= room

    if limit < 1:
        return None
    if runs(limit):
        return limit
    if limit == 1 or not runs(1):
        return None
    fitting, failing = 1, limit
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        fitting, failing = (middle, failing) if runs(middle) else (fitting, middle)
    return fitting


@lru_cache(maxsize=4096)
def _needed(
    key: ByIdentity,
    batch: int,
    rows: int,
    length: int,
    rank: int | None,
    optimizer: str,
    placement: Placement,
    accumulates: bool,
    device: MemoryDevice,
) -> int:
    """Bytes without which the step does not run; the same for all cards that add the same to tensors."""
    answer = memory_of(
        key.trace,
        batch=batch,
        length=length,
        device=device,
        rank=rank,
        evaluation_batch=rows,
        optimizer=optimizer,
        placement=placement,
        accumulates=accumulates,
    )
    return answer.needed_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What is the same at all moments of one question, in whole bytes."""

    weights: int
    optimizer_state: int
    workspace: int
    reserve: int
    reclaimable: int
    context: int
    host: int

    @classmethod
    def of(cls, step: _Step, placement: Placement, device: MemoryDevice) -> _Standing:
        static = step.static
        width = shard_factor(step.model, placement)
        factor = width / placement.replicas if placement.is_sharded else 1.0
        on_device = 0.0 if placement.cpu_offload else factor
        share = device.sharded_live_share if placement.is_sharded else device.live_share
        reclaimable = round(device.loss_share * step.loss_chain)
        reserve = round(share * step.alive) + reclaimable
        if step.replayed is not None and not device.is_cpu:
            reserve, reclaimable = round(step.replayed[0]), round(step.replayed[0] - step.replayed[1])
        offloaded = factor * (static.weights + static.trainable + static.optimizer_state)
        # Gathered whole, however many devices it is divided over; its moments are in its own type.
        copied = 0.0 if device.is_cpu else width * static.largest_gradient
        return cls(
            weights=round(static.weights * on_device),
            optimizer_state=round(static.optimizer_state * on_device),
            workspace=device.workspace_bytes,
            reserve=reserve,
            reclaimable=reclaimable,
            context=device.context_bytes + (device.collectives_bytes if placement.devices > 1 else 0),
            host=round(copied + (offloaded if placement.cpu_offload else 0.0)),
        )

    def lines(self, moment: Moment) -> dict[str, int]:
        return {
            "weights": self.weights,
            "gradients": round(moment.gradients),
            "optimizer_state": self.optimizer_state,
            "weight_copies": round(moment.weight_copies),
            "activations": round(moment.activations),
            "checkpoint_stash": round(moment.checkpoint_stash),
            "loss_chain": round(moment.loss_chain),
            "temporaries": round(moment.temporaries),
            "inputs": round(moment.inputs),
            "workspace": self.workspace,
            "allocator_reserve": self.reserve,
            "context": self.context,
        }


def _bytes(moment: Moment) -> float:
    return sum(moment[1:])


def _changing(moment: Moment) -> float:
    """Bytes that come and go within forward and backward; gradients and the update's copies fill what they leave."""
    if moment.phase == "update":
        return 0.0
    return _bytes(moment) - moment.gradients
