"""How often each group of ops of a trace runs for a batch and length, and of what size each then is; pure.

Most run as often as the trace says. The scoring of an evaluated language model, of which a trace has one sample, runs
once for each sample; the later slices of a chunked loss run once for each slice after the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from tasks.step_trace import OpGroup, StepTrace, monomials, monomials_of_later_slices

SCORED_TASKS = ("causal-lm",)
"""Whose evaluation looks at one sample after the other."""

Values = tuple[float, ...]
_Key = tuple[str, str, tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]


class Each(Enum):
    """Of what a group is the work."""

    BATCH = "batch"
    SAMPLE = "sample"
    LATER_SLICE = "slice of a chunked loss after the first"


class Turn(NamedTuple):
    """How often a group runs beyond its own count, and at which monomials its polynomials are read."""

    times: float
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedGroup:
    """Ops of a trace and what they are the work of."""

    group: OpGroup
    each: Each


def repeated_groups(trace: StepTrace) -> tuple[RepeatedGroup, ...]:
    """All ops of a trace."""
    return (
        *_of_batch_or_sample(trace),
        *(RepeatedGroup(group=group, each=Each.LATER_SLICE) for group in trace.later_slices),
    )


def turns(*, batch: float, length: float, rank: float = 0.0) -> dict[Each, Turn]:
    """By what ops are the work of: how often they run for this batch and length."""
    whole = monomials(batch, length, rank)
    return {
        Each.BATCH: Turn(1.0, tuple(whole.values())),
        # Its polynomials have no batch in them.
        Each.SAMPLE: Turn(batch, tuple(whole.values())),
        Each.LATER_SLICE: Turn(whole["C"] - 1.0, tuple(monomials_of_later_slices(batch, length, rank).values())),
    }


def _of_batch_or_sample(trace: StepTrace) -> Iterator[RepeatedGroup]:
    if trace.task not in SCORED_TASKS:
        yield from (RepeatedGroup(group=group, each=Each.BATCH) for group in trace.ops)
        return
    # Positions and masks that the batch shares run in the forward pass of training too; scoring does not.
    shared: Counter[_Key] = Counter()
    for group in trace.ops:
        if group.phase == "forward":
            shared[_key(group)] += group.count
    for group in trace.ops:
        once = group.count
        if group.phase == "evaluation" and _is_of_one_sample(group):
            once = min(group.count, shared[_key(group)])
            shared[_key(group)] -= once
        if once:
            yield RepeatedGroup(group=replace(group, count=once), each=Each.BATCH)
        if group.count > once:
            yield RepeatedGroup(group=replace(group, count=group.count - once), each=Each.SAMPLE)


def _is_of_one_sample(group: OpGroup) -> bool:
    names = {*group.flops, *group.bytes}
    return "S" in names and not any("B" in name for name in names)


def _key(group: OpGroup) -> _Key:
    return group.kind, group.dtype, tuple(sorted(group.flops.items())), tuple(sorted(group.bytes.items()))
