"""Objects as keys of what is remembered about them; owns nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from tasks.step_trace import StepTrace

T = TypeVar("T")


class Same(Generic[T]):
    """Equal to a wrapper of the very same object; the reference keeps the id unique."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        """Wrap an object."""
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


@dataclass(frozen=True, slots=True, eq=False)
class ByIdentity:
    """Equal to itself alone: traces hold dicts, so they have no hash; the reference keeps the id unique."""

    trace: StepTrace

    def __hash__(self) -> int:
        return id(self.trace)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.trace is self.trace
