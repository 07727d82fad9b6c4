"""The faults themselves: how a run is started for each, what is done to it, and how it is left."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from manager.runs.states import FINAL, RunState
from tests.faults.stage import Scene, read_run
from tests.faults.trials import Fault, Trial
from tests.support.cli import Running

LOCKED_S = (1.0, 25.0)
"""A ledger waits 15 s for a lock: beyond that supervision ends the run."""
ALONE_S = (0.0, 4.0)
"""How long a run that was left is alone."""
_LOOK_S = 0.05


@dataclass(kw_only=True)
class Front:
    """The process that the user started, and the one that supervises."""

    pid: int
    """Of the command."""
    terminal: Terminal | None = None
    """None: it has none."""
    said: list[Path] = field(default_factory=list)
    """Files of what it printed."""


def start(scene: Scene, fault: Fault) -> Front:
    """Launch a run as its fault needs it."""
    if fault is Fault.CLOSE_TERMINAL:
        return _in_terminal(scene)
    detach = ("--detach",) if fault is Fault.KILL_SUPERVISOR else ()
    running = scene.cli.start("run", *scene.run_arguments, *detach)
    return Front(pid=running.process.pid, said=[running.place / "out", running.place / "err"])


def wait_for_run(scene: Scene, front: Front) -> float:
    """Until the ledger has the run; the Unix time of its creation."""
    deadline = time.monotonic() + scene.patience_s
    while (record := read_run(scene.home)) is None:
        if not _lives(front.pid):
            raise AssertionError(f"the run was refused: {said(front)}")
        assert time.monotonic() < deadline, f"no run within {scene.patience_s:.0f} s: {said(front)}"
        time.sleep(_LOOK_S)
    return record.created_at_s


def is_over(scene: Scene) -> bool:
    """Whether the run has come to its end."""
    record = read_run(scene.home)
    return record is not None and record.state in FINAL | {RunState.UNCONFIRMED}


def inflict(scene: Scene, front: Front, trial: Trial) -> bool:
    """Do it; False: the run was over before it could be done."""
    if trial.fault in scene.deeds:
        return scene.deeds[trial.fault](trial) and _await_client(scene, front)
    return _DEEDS[trial.fault](scene, front, trial)


def said(front: Front) -> str:
    """The end of what the command printed."""
    texts = [file.read_text(errors="replace")[-1500:] for file in front.said if file.exists()]
    return " / ".join(text for text in texts if text)


def _kill_client(_scene: Scene, front: Front, trial: Trial) -> bool:
    os.kill(front.pid, signal.SIGKILL)
    sleep(ALONE_S, trial)
    return True


def _kill_supervisor(scene: Scene, _front: Front, trial: Trial) -> bool:
    supervisor = _supervisor(scene)
    if supervisor is None:
        return False
    supervisor.kill()
    sleep(ALONE_S, trial)
    return True


def _kill_trainer(scene: Scene, front: Front, _trial: Trial) -> bool:
    return _signal_trainer(scene, signal.SIGKILL) and _await_client(scene, front)


def _stop_trainer(scene: Scene, front: Front, _trial: Trial) -> bool:
    """The run is ended by whichever guard finds the hang."""
    return _signal_trainer(scene, signal.SIGSTOP) and _await_client(scene, front)


def _stop_client(scene: Scene, front: Front, trial: Trial) -> bool:
    os.kill(front.pid, signal.SIGSTOP)
    time.sleep(6.0)
    sleep(ALONE_S, trial)
    return not is_over(scene)


def _close_terminal(scene: Scene, front: Front, _trial: Trial) -> bool:
    assert front.terminal is not None, "it was started in one"
    front.terminal.close()
    return _await_client(scene, front)


def _lock_ledger(scene: Scene, front: Front, trial: Trial) -> bool:
    lock = sqlite3.connect(scene.home / "ledger.sqlite3", isolation_level=None, timeout=10.0)
    try:
        lock.execute("BEGIN IMMEDIATE")
        sleep(LOCKED_S, trial)
        lock.execute("ROLLBACK")
    finally:
        lock.close()
    return _await_client(scene, front)


_DEEDS: dict[Fault, Callable[[Scene, Front, Trial], bool]] = {
    Fault.KILL_CLIENT: _kill_client,
    Fault.KILL_SUPERVISOR: _kill_supervisor,
    Fault.KILL_TRAINER: _kill_trainer,
    Fault.STOP_TRAINER: _stop_trainer,
    Fault.STOP_CLIENT: _stop_client,
    Fault.CLOSE_TERMINAL: _close_terminal,
    Fault.LOCK_LEDGER: _lock_ledger,
}


def sleep(bounds_s: tuple[float, float], trial: Trial) -> None:
    """As long as the trial says, between the bounds."""
    low, high = bounds_s
    time.sleep(low + trial.duration_share * (high - low))


def _signal_trainer(scene: Scene, number: signal.Signals) -> bool:
    """To the trainer, as soon as there is one."""
    while not (pids := scene.trainers()):
        if is_over(scene):
            return False
        time.sleep(_LOOK_S)
    hit = False
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            hit = True
    return hit


def _supervisor(scene: Scene) -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "manager.service.supervisor" in words and any(str(scene.cli.folder) in word for word in words):
            return process
    return None


def _await_client(scene: Scene, front: Front) -> bool:
    """Until the command has ended of itself, as one does whose run ended."""
    deadline = time.monotonic() + scene.patience_s
    while _lives(front.pid):
        assert time.monotonic() < deadline, f"the client hangs {scene.patience_s:.0f} s after the fault: {said(front)}"
        time.sleep(0.1)
    return True


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _in_terminal(scene: Scene) -> Front:
    """A command whose terminal will be closed: leader of a session that has it as its controlling terminal."""
    master, slave = pty.openpty()
    environment = {
        **scene.cli.environment,
        "TUNEFARE_HOME": str(scene.home),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "manager.cli", "run", *scene.run_arguments],
        cwd=scene.cli.folder,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(slave)
    scene.cli.started.append(Running(process=process, place=scene.cli.folder))
    return Front(pid=process.pid, terminal=Terminal(master))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """The master side of a terminal: reads what is written, so that nobody waits, until it is closed."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Close it: the kernel hangs up on the session."""
        self._closing.set()
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # the other side is gone
            while not self._closing.is_set():
                if select.select([self._master], [], [], 0.1)[0] and not os.read(self._master, 65536):
                    return
