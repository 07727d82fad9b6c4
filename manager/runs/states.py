"""States of a run and the only table of transitions between them."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands; the last five are final."""

    PLANNED = "planned"
    LAUNCHING = "launching"
    """From here on a machine may be billed."""
    RUNNING = "running"
    STOPPING = "stopping"
    """The user asked for an end; the trainer saves a checkpoint."""
    TEARING_DOWN = "tearing_down"
    UNCONFIRMED = "unconfirmed"
    """Torn down, but the provider did not confirm: may still be billed."""
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    """Ended in good order before the task was through: by the user, by a cap."""
    FAILED = "failed"
    NO_CAPACITY = "no_capacity"
    INTERRUPTED = "interrupted"
    """The client was ended; what had been started is confirmed gone."""


FINAL = frozenset(
    {
        RunState.SUCCEEDED,
        RunState.STOPPED,
        RunState.FAILED,
        RunState.NO_CAPACITY,
        RunState.INTERRUPTED,
    }
)

MAY_BILL = frozenset(
    {RunState.LAUNCHING, RunState.RUNNING, RunState.STOPPING, RunState.TEARING_DOWN, RunState.UNCONFIRMED}
)

TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset({RunState.LAUNCHING, RunState.INTERRUPTED}),
    RunState.LAUNCHING: frozenset({RunState.RUNNING, RunState.TEARING_DOWN}),
    # Again where one machine takes the place of another: the detail says which.
    RunState.RUNNING: frozenset({RunState.RUNNING, RunState.STOPPING, RunState.TEARING_DOWN}),
    RunState.STOPPING: frozenset({RunState.TEARING_DOWN}),
    RunState.TEARING_DOWN: FINAL | {RunState.UNCONFIRMED},
    RunState.UNCONFIRMED: frozenset({RunState.TEARING_DOWN}),
    **{state: frozenset() for state in FINAL},
}
