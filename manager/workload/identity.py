"""A trace as a key of what is remembered about it; owns nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.step_trace import StepTrace


@dataclass(frozen=True, slots=True, eq=False)
class ByIdentity:
    """Equal to itself alone: traces hold dicts, so they have no hash; the reference keeps the id unique."""

    trace: StepTrace

    def __hash__(self) -> int:
        return id(self.trace)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.trace is self.trace
