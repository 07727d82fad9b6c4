"""Runs that are over, and those that end before they began; no torch, so that both are known at once."""

from __future__ import annotations

from pathlib import Path

from tasks.emit import EventWriter
from tasks.guard import Guard
from tasks.protocol import STOPPED_BY_FILE, EventType, Outcome

_FINAL = (Outcome.COMPLETED, Outcome.EARLY_STOPPED, Outcome.TARGET_REACHED)


def finished_outcome(events: EventWriter, guard: Guard) -> str | None:
    """The outcome of a run that is over for good; a stopped run goes on, one at its cap when the cap was raised."""
    last = events.events[-1] if events.events else None
    if last is None or last.type is not EventType.FINISHED:
        return None
    outcome = Outcome(last.data["outcome"])
    is_over = outcome in _FINAL or (outcome is Outcome.CAP_REACHED and guard.is_spent())
    return str(outcome) if is_over else None


def stop_outcome(out: Path, events: EventWriter) -> Outcome:
    """What a stop by a signal means: the cap, where the dead-man timer gave it and says so."""
    try:
        reason, _, words = (out / STOPPED_BY_FILE).read_text(encoding="utf-8").strip().partition(": ")
    except (OSError, UnicodeDecodeError):
        return Outcome.STOPPED
    events.warn("dead_man", f"The dead-man timer beside the program ended it: {words or reason}.")
    return Outcome.CAP_REACHED if reason == "cap" else Outcome.STOPPED


def finish_at_checkpoint(events: EventWriter, started_s: float, outcome: Outcome = Outcome.STOPPED) -> None:
    """A stop while data or model were loading, or one that could not wait: checkpoints, if any, are all there is."""
    checkpoints = events.find(EventType.CHECKPOINT)
    trained = events.find(EventType.TRAIN)
    events.emit_last(
        EventType.FINISHED,
        outcome=str(outcome),
        steps=checkpoints[-1].data["step"] if checkpoints else 0,
        best=None,
        training_s=trained[-1].data["elapsed_s"] if trained else 0.0,
        total_s=events.running_s(started_s),
        peak_memory_bytes=None,
        output=None,
    )
