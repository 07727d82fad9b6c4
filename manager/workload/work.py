"""Work: the ops of a traced step, compiled once, as numbers for any batch and length.

A planner asks for thousands of batches of one trace, so op groups that cost the same are joined and their polynomials
become rows of coefficients; answers for a batch and length are kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from manager.workload.identity import ByIdentity
from manager.workload.polynomial import Monomials, Row, compile_polynomial, value
from manager.workload.repeated import Each, RepeatedGroup, Turn, repeated_groups, turns
from tasks.step_trace import OpGroup, Polynomial, StepTrace

ARITHMETIC_KINDS = ("matmul", "attention", "convolution")
"""Kinds of OP_KINDS that may be limited by arithmetic; the others only move bytes."""

NARROW = "narrow convolution"
"""A convolution with so few channels per group that it is no matrix product: depthwise, groups of a few channels."""
MOVING = "memory"
"""Any op that does no arithmetic worth counting."""
_NARROW_FLOPS_PER_ELEMENT = {"forward": 50, "evaluation": 50, "backward": 75}
"""Of all it reads and writes: depthwise 7 x 7 does 49 forward, a dense 1 x 1 over 64 channels 64. A backward pass does
twice the arithmetic (to the input, to the weights) on three tensors instead of two: 65 and 85."""
_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
CAUSAL_TASKS = ("causal-lm", "image-text-to-text")
_CAUSAL_KERNEL = "flash"
_CALLS = re.compile(r"([a-z]+) (\d+)")
"""Kernel and calls, as `StepTrace.attention` lists them."""
_COMPUTED_UNDER_CAUSAL_MASK = 0.5
"""A causal flash kernel skips the blocks above the diagonal; traces count all of them (Dao 2023, arXiv:2307.08691)."""


@dataclass(frozen=True, slots=True)
class Ops:
    """Equal ops."""

    kind: str
    """One of ARITHMETIC_KINDS, NARROW or MOVING."""
    dtype: str
    """Type they compute in, as torch names it; empty for MOVING."""
    count: float
    flops: float
    """Of one of them."""
    bytes: float
    """That one of them reads and writes."""


@dataclass(frozen=True, slots=True)
class PhaseWork:
    """All ops of one phase at one batch and length."""

    groups: tuple[Ops, ...]
    ops: float
    """Number of all ops."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """One phase as coefficient rows."""

    groups: tuple[tuple[Each, str, str, float, Row, Row], ...]
    """What it is the work of, kind, type, count, coefficients of FLOPs and of bytes."""

    def at(self, by_each: dict[Each, Turn]) -> PhaseWork:
        """The numbers where groups run so often at these monomials."""
        groups = tuple(
            Ops(kind, dtype, count * times, _at_least_nothing(flops, values), _at_least_nothing(moved, values))
            for each, kind, dtype, count, flops, moved in self.groups
            for times, values in (by_each[each],)
            if times
        )
        return PhaseWork(groups, sum(group.count for group in groups))


def work_of(trace: StepTrace, *, batch: float, length: float, rank: float = 0.0) -> dict[str, PhaseWork]:
    """The work of each phase for a micro-batch of so many samples of this length; answers are kept.

    Args:
        trace: whose op groups are compiled at the first call.
        batch: samples of a micro-batch on one device.
        length: of a sample, padding included.
        rank: LoRA rank, where the polynomials of the trace carry R.
    """
    return _work(ByIdentity(trace), batch, length, rank)


def flops_of(trace: StepTrace, phases: Collection[str], *, batch: float, length: float, rank: float = 0.0) -> float:
    """FLOPs that the kernels of these phases do for a batch: the blocks that a causal mask skips are not among them."""
    work = work_of(trace, batch=batch, length=length, rank=rank)
    return sum(group.count * group.flops for phase in phases if phase in work for group in work[phase].groups)


@lru_cache(maxsize=4096)
def _work(key: ByIdentity, batch: float, length: float, rank: float) -> dict[str, PhaseWork]:
    by_each = turns(batch=batch, length=length, rank=rank)
    return {name: phase.at(by_each) for name, phase in _compiled(key).items()}


@lru_cache(maxsize=1024)
def _compiled(key: ByIdentity) -> dict[str, _Compiled]:
    by_phase: dict[str, list[RepeatedGroup]] = {}
    for repeated in repeated_groups(key.trace):
        by_phase.setdefault(repeated.group.phase, []).append(repeated)
    computed = _computed_share(key.trace)
    return {phase: _phase(groups, computed) for phase, groups in by_phase.items()}


def _computed_share(trace: StepTrace) -> float:
    """Part of the counted FLOPs that attention kernels do; calls of other kernels than flash do all of their matrix."""
    calls = {name: float(count) for name, count in _CALLS.findall(trace.attention)}
    if trace.task not in CAUSAL_TASKS or not calls:
        return 1.0
    return 1.0 - (1.0 - _COMPUTED_UNDER_CAUSAL_MASK) * calls.get(_CAUSAL_KERNEL, 0.0) / sum(calls.values())


def _phase(groups: list[RepeatedGroup], computed_share: float) -> _Compiled:
    joined: dict[tuple[Each, str, str, Row, Row], float] = {}
    for repeated in groups:
        group = repeated.group
        kind, dtype = MOVING, ""
        flops: Row = ()
        if group.kind in ARITHMETIC_KINDS:
            kind, dtype = NARROW if _is_narrow(group) else group.kind, group.dtype
            done = computed_share if group.kind == "attention" else 1.0
            flops = tuple((place, done * part) for place, part in _row(group.flops))
        key = (repeated.each, kind, dtype, flops, _row(group.bytes))
        joined[key] = joined.get(key, 0.0) + group.count
    return _Compiled(
        tuple((each, kind, dtype, count, flops, one) for (each, kind, dtype, flops, one), count in joined.items())
    )


def _is_narrow(group: OpGroup) -> bool:
    # What grows with the batch counts: at batch 1 the weights of any convolution outweigh its images.
    flops = sum(part for monomial, part in group.flops.items() if monomial != "1")
    elements = sum(part for monomial, part in group.bytes.items() if monomial != "1") / _ITEM_BYTES.get(group.dtype, 4)
    return group.kind == "convolution" and flops < _NARROW_FLOPS_PER_ELEMENT[group.phase] * elements


def _row(polynomial: Polynomial) -> Row:
    return tuple(sorted(compile_polynomial(polynomial)))


def _at_least_nothing(row: Row, at: Monomials) -> float:
    # Fits over few points may leave tiny negative constants; no op does less than nothing.
    return max(0.0, value(row, at))
