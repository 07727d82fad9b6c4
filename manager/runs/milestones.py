"""Starts, evaluations and ends out of a run's events, and which evaluations still hold after a resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tasks.protocol import EvaluationStage, Event, EventType

MILESTONES = frozenset({EventType.STARTED, EventType.EVALUATION, EventType.FINISHED, EventType.FAILED})


class Milestone(NamedTuple):
    """One of these events; a tuple, since a list of runs reads tens of thousands of them."""

    seq: int
    type: str
    """EventType."""
    stage: str | None
    """EvaluationStage; None for others than evaluations."""
    step: int | None
    """Optimizer step of an evaluation; of an end the step whose weights were kept, the last where none is best."""


def milestone_of(event: Event) -> Milestone:
    """From an event of one of these types."""
    stage, best = event.data.get("stage"), event.data.get("best")
    step = event.data.get("steps") if event.type is EventType.FINISHED else event.data.get("step")
    return Milestone(event.seq, event.type, stage, int(best["step"]) if best else step)


def holding_seqs(milestones: Sequence[Milestone], stage: EvaluationStage) -> set[int]:
    """Sequence numbers of the evaluations of a stage that still hold; milestones oldest first.

    A run that was resumed may carry a final evaluation of weights that it no longer has. Its end says which step was
    kept; while there is none, only an evaluation of the latest start counts.
    """
    found = [each for each in milestones if each.stage == stage]
    if stage is not EvaluationStage.FINAL or not found:
        return {each.seq for each in found}
    resumed_seq, end = -1, None
    for each in milestones:
        if each.type == EventType.STARTED:
            resumed_seq = each.seq
        elif each.type in (EventType.FINISHED, EventType.FAILED):
            end = each
    if end is None or end.type != EventType.FINISHED or end.seq < resumed_seq:
        return {each.seq for each in found if each.seq > resumed_seq}
    return {each.seq for each in found if end.step is None or each.step == end.step}
