"""Reading event data: typed, forgiving about a missing field (None), never inventing a value."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tasks.protocol import EvaluationStage, Event, EventType


def number(event: Event, name: str) -> float | None:
    """A finite number of the event's data, or None."""
    return as_number(event.data.get(name))


def whole(event: Event, name: str) -> int | None:
    """A whole number of the event's data, or None."""
    value = as_number(event.data.get(name))
    return None if value is None else int(value)


def text(event: Event, name: str) -> str | None:
    """A text of the event's data, or None."""
    value = event.data.get(name)
    return value if isinstance(value, str) else None


def as_number(value: object) -> float | None:
    """A finite number, or None; booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def metrics(event: Event) -> dict[str, float | None]:
    """Metrics of an `evaluation` event by name."""
    found = event.data.get("metrics")
    return {str(name): as_number(value) for name, value in found.items()} if isinstance(found, dict) else {}


def last(events: Iterable[Event], kind: EventType) -> Event | None:
    """The latest event of a type."""
    found = None
    for event in events:
        found = event if event.type is kind else found
    return found


def ending(events: Iterable[Event]) -> Event | None:
    """How the task ended last: its latest `finished` or `failed` event, whichever came later."""
    found = None
    for event in events:
        found = event if event.type in {EventType.FINISHED, EventType.FAILED} else found
    return found


def of_stage(events: Iterable[Event], stage: EvaluationStage) -> list[Event]:
    """Evaluations of a stage, oldest first."""
    return [e for e in events if e.type is EventType.EVALUATION and e.data.get("stage") == stage]
