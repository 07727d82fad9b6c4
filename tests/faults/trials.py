"""What is tried: kinds of faults, and trials drawn from a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What happens to a run."""

    KILL_CLIENT = "kill-client"
    KILL_SUPERVISOR = "kill-supervisor"
    KILL_TRAINER = "kill-trainer"
    STOP_TRAINER = "stop-trainer"
    STOP_CLIENT = "stop-client"
    CLOSE_TERMINAL = "close-terminal"
    LOCK_LEDGER = "lock-ledger"
    FULL_DISK = "full-disk"
    KILL_API_SERVER = "kill-api-server"
    CUT_NETWORK = "cut-network"


LOCAL_FAULTS = tuple(fault for fault in Fault if fault not in (Fault.KILL_API_SERVER, Fault.CUT_NETWORK))
"""There is neither a SkyPilot nor a network between home and a task on this machine."""
CLOUD_FAULTS = (Fault.KILL_CLIENT, Fault.KILL_API_SERVER, Fault.KILL_TRAINER, Fault.CUT_NETWORK)
"""Tried on engines of SkyPilot; the others are no different there."""
FAULT_WORDS = {
    Fault.KILL_CLIENT: "SIGKILL of `tunefare run`",
    Fault.KILL_SUPERVISOR: "SIGKILL of the supervisor of `run --detach`",
    Fault.KILL_TRAINER: "SIGKILL of the trainer",
    Fault.STOP_TRAINER: "SIGSTOP of the trainer: it hangs",
    Fault.STOP_CLIENT: "SIGSTOP of `tunefare run`: it hangs",
    Fault.CLOSE_TERMINAL: "the terminal of `tunefare run` is closed",
    Fault.LOCK_LEDGER: "the ledger is locked for 1 to 25 s",
    Fault.FULL_DISK: "the disk of the state folder is full for 2 to 8 s",
    Fault.KILL_API_SERVER: "SIGKILL of the SkyPilot API server",
    Fault.CUT_NETWORK: "the provider's API does not answer for 20 to 90 s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run that is to be disturbed."""

    number: int
    fault: Fault
    share: float
    """When, from 0 (the run is in the ledger) to 1 (an undisturbed run would be over)."""
    duration_share: float
    """Of the shortest to the longest time for which the disturbance lasts."""
    adopts: bool
    """Afterwards `tunefare watch --once` runs, which lets the task go on; else `tunefare reconcile --end`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a trial has left."""

    trial: Trial
    moment_s: float | None
    """Seconds after the run's creation at which the fault came; None: the run was over before."""
    run_id: str
    state: str
    """Of the run in the end."""
    events: int
    """That the trainer has written."""
    lost: int
    doubled: int
    left: tuple[str, ...]
    """Processes or machines of the run."""
    cost_error_s: float | None
    """Billed seconds by which the ledger's sum is off price x time; None: nothing was billed."""
    late_s: float | None
    """From the last sign of life of the machine to the end of the bill, seconds; None: nobody saw it."""
    defects: tuple[str, ...]
    """Why the trial failed, in words; empty: it did not."""


def draw(seed: int, count: int, faults: Sequence[Fault]) -> tuple[Trial, ...]:
    """As many trials of each kind, at moments and with durations from the seed."""
    generator = random.Random(seed)
    return tuple(
        Trial(
            number=number,
            fault=faults[number % len(faults)],
            share=generator.random(),
            duration_share=generator.random(),
            adopts=generator.random() < 0.5,
        )
        for number in range(count)
    )
