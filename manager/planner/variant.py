"""StepVariant: one way of training the same job that the planner may choose, with what it demands and its traced step.

Variants of a job keep its global batch, method and data. They differ in the precision where the run file leaves it
open, and in gradient checkpointing; micro-batch, sharding and nodes are found for each machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.workload.profile import WorkloadProfile
from manager.workload.traces import RunTraces


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVariant:
    """One variant; the first of several is the one that the others are measured against."""

    profile: WorkloadProfile
    """Says precision and checkpointing."""
    traces: RunTraces
    shardings: tuple[str, ...] = ("ddp",)
    """How several devices may share a step: ddp, fsdp."""
    checkpoint_every_steps: int | None = None
    """As the run file says; None: chosen where machines can be preempted, else at each evaluation."""
    keep_checkpoints: int = 2
