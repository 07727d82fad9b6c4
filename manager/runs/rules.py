"""Rules between the rows of a run, whoever keeps them: transitions, gapless events, charges that touch. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from manager.errors import StateError
from manager.runs.records import Charge
from manager.runs.states import TRANSITIONS, RunState
from tasks.protocol import Event


class MissingEventsError(StateError):
    """Events are missing; what came before them is stored."""

    def __init__(self, run_id: str, *, from_seq: int, to_seq: int, stored: tuple[Event, ...]) -> None:
        super().__init__(
            f"events {from_seq} to {to_seq} of run {run_id} are missing",
            hint=f"The events file in the run's folder is the truth; run `tunefare reconcile {run_id}`.",
        )
        self.stored = stored
        """Events of the same call that were new and are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedEvents:
    """What of some events is new."""

    new: tuple[Event, ...]
    """Without a gap behind what is stored."""
    missing: tuple[int, int] | None
    """First and last sequence number of a gap behind them; None: there is none."""

    def raise_missing(self, run_id: str) -> None:
        """Raise MissingEventsError where there is a gap."""
        if self.missing is not None:
            raise MissingEventsError(run_id, from_seq=self.missing[0], to_seq=self.missing[1], stored=self.new)


def sort_events(
    run_id: str, last_seq: int, events: Iterable[Event], stored: Callable[[int], Event | None]
) -> SortedEvents:
    """Tell new events from those that are stored.

    Args:
        run_id: of the run.
        last_seq: of the last event stored; -1: none.
        events: in order.
        stored: the stored event of a sequence number.

    Raises:
        StateError: a sequence number has other content than before.
    """
    new: dict[int, Event] = {}
    for event in events:
        if event.seq <= last_seq:
            if (new.get(event.seq) or stored(event.seq)) != event:
                raise StateError(
                    f"event {event.seq} of run {run_id} differs from the one that is stored",
                    hint="Two tasks wrote to the same run's folder; look at its events file.",
                )
            continue
        if event.seq != last_seq + 1:
            return SortedEvents(new=tuple(new.values()), missing=(last_seq + 1, event.seq - 1))
        last_seq = event.seq
        new[last_seq] = event
    return SortedEvents(new=tuple(new.values()), missing=None)


def check_transition(run_id: str, present: RunState, state: RunState) -> None:
    """Refuse a state that the table of transitions has no way to; StateError then."""
    if state not in TRANSITIONS[present]:
        raise StateError(
            f"run {run_id} is {present} and cannot become {state}",
            hint=f"Another process may have ended it; look with `tunefare show {run_id}`.",
        )


def check_touches(run_id: str, stands_at_s: float | None, charge: Charge) -> None:
    """Refuse a charge that does not start where the bill stands (None: there is none yet); StateError then."""
    if stands_at_s is not None and stands_at_s != charge.from_s:
        raise StateError(
            f"a charge of run {run_id} starts at {charge.from_s}, the bill stands at {stands_at_s}",
            hint=f"Two processes supervise the same run; look with `tunefare show {run_id}`.",
        )
