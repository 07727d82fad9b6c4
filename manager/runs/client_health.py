"""Whether the process that supervises a run does so: it may be gone, stopped (Ctrl-Z, SIGSTOP), or silent. Pure."""

from __future__ import annotations

from enum import StrEnum

from manager.runs.clients import LONGEST_SILENCE_S
from manager.runs.states import RunState

STOPPED_HEARTBEATS = 4
"""A stopped client that has written nothing for so many heartbeats supervises no more."""
SILENT_HEARTBEATS = 20
SILENT_S = 600.0
"""A client that runs and has written nothing for so long, and for so many heartbeats, hangs; it writes each heartbeat
while the machine runs. While it launches or takes down it may be silent for `LONGEST_SILENCE_S`, and while it launches
for as much longer than the launch may take."""


class ClientHealth(StrEnum):
    """What a watcher finds."""

    WELL = "well"
    GONE = "gone"
    STOPPED = "stopped"
    """It was stopped, and would go on if it were continued."""
    SILENT = "silent"


def health(
    *,
    is_alive: bool,
    is_stopped: bool,
    is_here: bool,
    state: RunState,
    silence_s: float,
    heartbeat_s: float,
    launch_timeout_s: float,
) -> ClientHealth:
    """The health of a client.

    Args:
        is_alive: as `manager.runs.clients.lives` tells.
        is_stopped: the system has stopped its process.
        is_here: it is on this host; one elsewhere is judged by `lives` alone.
        state: of its run.
        silence_s: since the newest row that it wrote.
        heartbeat_s: between two rows while the machine runs.
        launch_timeout_s: that a launch may take.
    """
    if not is_alive:
        return ClientHealth.GONE
    if not is_here:
        return ClientHealth.WELL
    if is_stopped and silence_s >= STOPPED_HEARTBEATS * heartbeat_s:
        return ClientHealth.STOPPED
    longest_s = _longest_silence_s(state, heartbeat_s, launch_timeout_s)
    return ClientHealth.SILENT if silence_s >= longest_s else ClientHealth.WELL


def _longest_silence_s(state: RunState, heartbeat_s: float, launch_timeout_s: float) -> float:
    while_it_runs_s = max(SILENT_S, SILENT_HEARTBEATS * heartbeat_s)
    if state in {RunState.RUNNING, RunState.STOPPING}:
        return while_it_runs_s
    launching_s = launch_timeout_s + while_it_runs_s if state is RunState.LAUNCHING else 0.0
    return max(LONGEST_SILENCE_S, while_it_runs_s, launching_s)
