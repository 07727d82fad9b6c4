"""Which processes belong to a local run, and whether a process is still the one that was meant.

A pid alone proves nothing, because pids are reused: a process is named by its pid and its creation time. What belongs
to a run is found in four ways, so that no single trick of a task hides a process: the recorded leader, the leader's
session, descendants that the runner wrote down while it saw them, and a mark in the environment that children inherit.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from manager.launch.local_runner import EXIT_FILE, PID_FILE, PROCESSES_FILE

MARK_VARIABLE = "TUNEFARE_LOCAL_RUN"
"""Environment variable that holds the run's folder in the task and in all that it starts."""
CREATION_TOLERANCE_S = 2.0
"""psutil derives creation times from the boot time, which moves when the clock is set; pids come round more slowly."""
_DAMAGED = (ValueError, KeyError, TypeError)
"""How a record fails to be read that is no whole one."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    created_at_s: float
    """Unix time in seconds at which the process was created."""


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None when there is none (a zombie holds nothing and counts as none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessIdentity(pid=pid, created_at_s=process.create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process lives."""
    now = identify(identity.pid)
    return now is not None and abs(now.created_at_s - identity.created_at_s) <= CREATION_TOLERANCE_S


def read_leader(run_dir: Path) -> ProcessIdentity | None:
    """The runner of the run as its pid file tells; None when no runner ever got so far, or the file is damaged."""
    return _read(run_dir / PID_FILE, _identity)


def read_returncode(run_dir: Path) -> int | None:
    """Exit status of the task (negative: the signal that ended it); None when the runner saw no end, or a loss of power
    has spoilt what it wrote."""
    return _read(run_dir / EXIT_FILE, lambda record: int(record["returncode"]))


def read_end_s(run_dir: Path) -> float | None:
    """Unix time at which the runner saw the task end; None as `read_returncode`."""
    return _read(run_dir / EXIT_FILE, lambda record: float(record["at_s"]))


def processes_of(run_dir: Path, leader: ProcessIdentity | None) -> list[psutil.Process]:
    """Every living process of the run, in no special order.

    Processes of other users that cannot be asked are none of ours: a task cannot change its user.
    """
    session = leader.pid if leader is not None and is_alive(leader) else None
    recorded = {identity.pid: identity for identity in _recorded(run_dir)}
    if leader is not None:
        recorded[leader.pid] = leader
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if _belongs(process, run_dir=run_dir, session=session, recorded=recorded):
                found[process.pid] = process
    for process in list(found.values()):
        with suppress(psutil.NoSuchProcess):
            found.update((child.pid, child) for child in process.children(recursive=True) if _lives(child))
    found.pop(os.getpid(), None)
    return list(found.values())


def signal_all(processes: Iterable[psutil.Process], signum: signal.Signals) -> None:
    """Send a signal to each; psutil checks the creation time again, so a reused pid is left alone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signum)


def end_all(run_dir: Path, leader: ProcessIdentity | None, *, grace_s: float, patience_s: float) -> bool:
    """TERM, then after grace_s KILL, until nothing of the run is left or patience_s more are over.

    Returns:
        Whether nothing is left.
    """
    signal_all(processes_of(run_dir, leader), signal.SIGTERM)
    if _wait_gone(run_dir, leader, timeout_s=grace_s):
        return True
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        signal_all(processes_of(run_dir, leader), signal.SIGKILL)
        if _wait_gone(run_dir, leader, timeout_s=0.5):
            return True
    return not processes_of(run_dir, leader)


def _wait_gone(run_dir: Path, leader: ProcessIdentity | None, *, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while processes_of(run_dir, leader):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True


def _belongs(
    process: psutil.Process, *, run_dir: Path, session: int | None, recorded: dict[int, ProcessIdentity]
) -> bool:
    known = recorded.get(process.pid)
    if known is not None and abs(process.create_time() - known.created_at_s) <= CREATION_TOLERANCE_S:
        return True
    with suppress(ProcessLookupError, PermissionError):
        if session is not None and os.getsid(process.pid) == session:
            return True
    return bool(process.environ().get(MARK_VARIABLE) == str(run_dir))


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _recorded(run_dir: Path) -> list[ProcessIdentity]:
    try:
        lines = (run_dir / PROCESSES_FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    identities = []
    for line in lines:
        # A runner that was killed while writing leaves a torn last line, a loss of power zeros.
        with suppress(*_DAMAGED):
            identities.append(_identity(json.loads(line)))
    return identities


def _identity(record: Any) -> ProcessIdentity:
    return ProcessIdentity(pid=int(record["pid"]), created_at_s=float(record["created_at_s"]))


def _read(file: Path, parse: Callable[[Any], T]) -> T | None:
    """What a file of the runner says; None: there is none, or it is damaged and says nothing."""
    try:
        return parse(json.loads(file.read_bytes()))
    except (FileNotFoundError, *_DAMAGED):
        return None
