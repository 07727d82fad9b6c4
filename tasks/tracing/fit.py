"""From a few small recordings to the polynomials of a StepTrace: any batch, any length, any depth.

Where layers repeat, two small depths are recorded and the model's own depth is computed; else the model is recorded as
it is. What is computed is exact to rounding, or is not used: ops of the two depths that do not line up, or a third
depth that comes out otherwise, lead to recordings of the whole model (`whole`), and ops that depend on batch or length
to an error.
"""

from __future__ import annotations

import importlib.metadata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.step_trace import (
    TRACED_WITH,
    MemoryPoint,
    OpGroup,
    Polynomial,
    ReservePoint,
    StepTrace,
    TensorSums,
    TraceRequest,
)
from tasks.tracing.deep_lives import inserted_ops, reserve_points, script_of
from tasks.tracing.derived import deeper_recordings
from tasks.tracing.hull import hull
from tasks.tracing.layout import SmallDepths, small_depths
from tasks.tracing.recording import LIVE_COLUMNS, Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.samples import Point, Samples, samples_for
from tasks.tracing.slices import in_two_slices
from tasks.tracing.stack import (
    Moments,
    NotRepeatedError,
    OpKey,
    Stack,
    check_probe,
    deepen_moments,
    deepen_ops,
    repeated_from,
)
from tasks.tracing.whole import FEW_LAYERS, whole_recordings

Floats = NDArray[np.float64]


class Record(Protocol):
    """Records one step; `tasks.tracing.traced_step.record_step` is one."""

    def __call__(
        self,
        request: TraceRequest,
        *,
        batch: int,
        length: int,
        rank: int | None = None,
        layers: int | None = None,
        slices: int | None = None,
    ) -> Recording:
        """One step at one batch, length, rank, number of layers and of slices of a chunked loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """Moments and ops of the model at its own depth, and its sums at the first point."""

    moments: Moments
    ops: Counter[OpKey]
    stack: Stack
    """Of the model, or of the shallower of two depths."""
    deeper: Stack | None
    steps: int
    layers: int
    depths: SmallDepths | None = None


def trace_step(
    request: TraceRequest, *, config: Mapping[str, Any], record: Record, with_rank: bool = False
) -> StepTrace:
    """The step's work and memory for any batch and length.

    Args:
        request: what is traced.
        config: of the request, complete with the defaults of its model type.
        record: records one step.
        with_rank: carry the rank of LoRA in the polynomials instead of the request's own rank.

    Raises:
        TaskError: the model cannot be built, or its ops depend on batch or length.
    """
    samples = samples_for(request, config, with_rank=with_rank)
    whole = _record_whole(request, samples, config, record)
    first, final = whole.stack.first, whole.deeper.first if whole.deeper else whole.stack.first
    groups = _op_groups(whole.ops, samples)

    def deep(value: Callable[[Recording], float], stack_of: int = 0) -> float:
        before = value(whole.stack.recordings[stack_of])
        after = value(whole.deeper.recordings[stack_of]) if whole.deeper else before
        return before + (after - before) * whole.steps

    def in_rank(value: Callable[[Recording], float]) -> Polynomial:
        at_first = deep(value)
        low, high = samples.points[0].rank, samples.points[-1].rank
        if low is None or high is None or low == high:
            return _terms(("1",), np.array([at_first]))
        slope = (deep(value, len(samples.points) - 1) - at_first) / (high - low)
        return _terms(("1", "R"), np.array([at_first - slope * low, slope]))

    has_adapters = request.method.kind in ("lora", "qlora")
    return StepTrace(
        model_type=str(request.config.get("model_type") or request.config.get("architecture")),
        task=request.task,
        method=request.method.kind,
        precision=request.precision,
        optimizer=request.optimizer,
        gradient_checkpointing=request.gradient_checkpointing,
        attention=_attention(deep, first, final),
        loss=request.loss,
        padded=request.padded,
        rank=request.method.lora_rank if has_adapters and not with_rank else None,
        layers=whole.layers,
        parameters=round(deep(lambda recording: recording.parameters)),
        trainable_parameters=round(deep(lambda recording: recording.trainable_parameters)),
        weights_bytes=in_rank(lambda recording: recording.weights_bytes),
        optimizer_state_bytes=in_rank(lambda recording: recording.optimizer_state_bytes),
        trainable=_tensor_sums(deep, final.trainable),
        memory=_memory(whole.moments, samples),
        ops=tuple(group for group, is_later in groups if not is_later),
        later_slices=tuple(group for group, is_later in groups if is_later),
        layer_weight_bytes=final.layer_weight_bytes,
        root_weight_bytes=final.root_weight_bytes,
        layer_activation_bytes=_layer_input(whole.stack, samples),
        exact=whole.deeper is None,
        two_points=whole.deeper is None and any(recording.is_derived for recording in whole.stack.recordings),
        image_tokens=samples.image_tokens,
        reserve=_reserve(whole, samples),
        versions={name: importlib.metadata.version(name) for name in TRACED_WITH},
        notes=tuple(dict.fromkeys((*first.notes, *final.notes))),
    )


def _record_whole(request: TraceRequest, samples: Samples, config: Mapping[str, Any], record: Record) -> _Whole:
    depths = small_depths(config, request.layers)
    if depths is not None:
        try:
            return _from_two_depths(request, samples, depths, record)
        except (NotRepeatedError, RefusedModel):
            pass  # The config promised repeated layers and the ops say otherwise: the ops are right.
    recordings = whole_recordings(
        samples.points,
        lambda point: _recorded(request, point, record, layers=request.layers),
        lambda point: _recorded(request, point, record, layers=FEW_LAYERS),
    )
    stack = Stack(in_two_slices(recordings))
    return _Whole(
        moments=stack.moments(), ops=stack.ops(), stack=stack, deeper=None, steps=0, layers=stack.first.layers
    )


def _from_two_depths(request: TraceRequest, samples: Samples, depths: SmallDepths, record: Record) -> _Whole:
    fewer = _stack(request, samples, record, layers=depths.fewer)
    deeper = deeper_recordings(
        fewer, samples.points, depths, lambda point: _recorded(request, point, record, layers=depths.more)
    )
    more = Stack(in_two_slices(deeper))
    if depths.layers > depths.more:
        point = samples.points[0]
        probe = _recorded(request, point, record, layers=depths.probe)
        check_probe(fewer, more, depths, probe)
    return _Whole(
        moments=deepen_moments(fewer, more, depths),
        ops=deepen_ops(fewer, more, depths),
        stack=fewer,
        deeper=more,
        steps=depths.steps,
        layers=depths.layers,
        depths=depths,
    )


def _stack(request: TraceRequest, samples: Samples, record: Record, *, layers: int | None) -> Stack:
    return Stack(in_two_slices([_recorded(request, point, record, layers=layers) for point in samples.points]))


def _recorded(request: TraceRequest, point: Point, record: Record, *, layers: int | None) -> Recording:
    return record(request, batch=point.batch, length=point.length, rank=point.rank, layers=layers, slices=point.slices)


def _memory(moments: Moments, samples: Samples) -> tuple[MemoryPoint, ...]:
    coefficients = samples.solve(moments.live_bytes)
    sums = coefficients.sum(axis=2).T
    kept: list[int] = []
    for phase in dict.fromkeys(moments.phases):
        rows = np.array([at for at, name in enumerate(moments.phases) if name == phase], dtype=np.int64)
        kept += rows[hull(sums[rows], samples.names, longest=samples.longest)].tolist()
    return tuple(
        MemoryPoint(
            phase=moments.phases[row],
            lines={
                name: terms
                for column, name in enumerate(LIVE_COLUMNS)
                if (terms := _terms(samples.names, coefficients[:, row, column]))
            },
        )
        for row in kept
    )


def _op_groups(ops: Counter[OpKey], samples: Samples) -> list[tuple[OpGroup, bool]]:
    """Equal ops, and whether they are those of a slice after the first."""
    counts: dict[tuple[str, str, str, tuple[float, ...], tuple[float, ...], bool], int] = defaultdict(int)
    for (phase, kind, dtype, _, flops, moved, is_later), count in ops.items():
        counts[phase, kind if any(flops) or any(moved) else "memory", dtype, flops, moved, is_later] += count
    keys = list(counts)
    work = samples.solve(np.array([(key[3], key[4]) for key in keys], dtype=np.float64).transpose(2, 0, 1))
    groups = (
        OpGroup(
            phase=key[0],
            kind=key[1],
            dtype=key[2],
            count=counts[key],
            flops=_terms(samples.names, work[:, at, 0]),
            bytes=_terms(samples.names, work[:, at, 1]),
        )
        for at, key in enumerate(keys)
    )
    return [(group, key[5]) for group, key in zip(groups, keys, strict=True)]


def _reserve(whole: _Whole, samples: Samples) -> tuple[ReservePoint, ...]:
    """What the allocator holds beyond the tensors; empty where allocations were not kept or differ between points."""
    recordings = [*whole.stack.recordings, *(whole.deeper.recordings if whole.deeper else ())]
    if any(not len(recording.lives) for recording in recordings):
        return ()
    for stack in filter(None, (whole.stack, whole.deeper)):
        if any(not np.array_equal(other.lives[:, 1:], stack.first.lives[:, 1:]) for other in stack.recordings[1:]):
            return ()
    inserted = {}
    if whole.deeper is not None and whole.depths is not None:
        inserted = inserted_ops(whole.stack, whole.deeper, repeated_from(whole.stack, whole.deeper, whole.depths))
    return reserve_points(script_of(whole.stack, whole.deeper, samples, steps=whole.steps, inserted=inserted))


def _layer_input(stack: Stack, samples: Samples) -> Polynomial:
    sizes = np.array([[recording.layer_input_bytes] for recording in stack.recordings], dtype=np.float64)
    return _terms(samples.names, samples.solve(sizes)[:, 0])


def _terms(names: tuple[str, ...], coefficients: Floats) -> Polynomial:
    """Coefficients by monomial, without zeros; 12 digits are more than any of them means."""
    rounded = (float(f"{value:.12g}") for value in coefficients)
    return {name: value for name, value in zip(names, rounded, strict=True) if value}


def _attention(deep: Callable[..., float], first: Recording, final: Recording) -> str:
    kernels = sorted({*first.attention, *final.attention})
    calls = {name: round(deep(lambda recording, name=name: recording.attention.get(name, 0))) for name in kernels}
    return ", ".join(f"{name} {count}" for name, count in calls.items())


def _tensor_sums(deep: Callable[..., float], final: TensorSums) -> TensorSums:
    sums = {
        part.name: round(deep(lambda recording, name=part.name: getattr(recording.trainable, name)))
        for part in fields(TensorSums)
        if part.name != "largest_elements"
    }
    return TensorSums(**sums, largest_elements=final.largest_elements)
