"""The local engine: the same task as a subprocess on this machine, in a session of its own.

Owns processes and the files of a run's folder; no prices, no ledger. A run is found again by its folder alone
(`pid.json`, and a mark in the environment of its processes), so no moment exists in which a dead client loses it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from signal import SIGKILL, SIGTERM

import psutil

from manager.config import without_ledger_secrets
from manager.errors import EngineError
from manager.launch import local_deadman, local_runner
from manager.launch.engine import LOG_FILE, Evidence, GuardName, Handle, Launched, LaunchRequest, MachineState
from manager.launch.guarding import deadman_environment
from manager.launch.local_process import (
    MARK_VARIABLE,
    ProcessIdentity,
    end_all,
    identify,
    is_alive,
    processes_of,
    read_end_s,
    read_leader,
    read_returncode,
    signal_all,
)
from manager.launch.local_tail import EventTail, LogTail
from manager.prices.local import LocalDevice, detect_device
from manager.prices.offer import Offer
from tasks.protocol import EVENTS_FILE, JOB_FILE, Event
from tasks.redaction import NAMES_VARIABLE

POLL_S = 0.2
"""Between two looks at the files of a running task."""
START_TIMEOUT_S = 30.0
"""For the runner to write its identity."""
DURATION_MARGIN_S = 15.0
"""The task keeps its longest duration itself and in good order; the runner steps in this much later."""
DOWN_GRACE_S = 3.0
"""Between SIGTERM and SIGKILL in `down`."""
DOWN_PATIENCE_S = 10.0
"""For killed processes to vanish."""


TRAINING_LIBRARIES = ("torch", "transformers", "accelerate", "peft", "sklearn", "safetensors", "pyarrow")
"""That the training program loads here."""


def missing_to_train() -> tuple[str, ...]:
    """Libraries without which no run can be launched on this machine."""
    return tuple(name for name in TRAINING_LIBRARIES if importlib.util.find_spec(name) is None)


class LocalEngine:
    """Engine `local`; see `manager.launch.engine.Engine` for the contract."""

    name = "local"

    def __init__(
        self,
        *,
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
        task_module: str = "tasks.train",
        clock: Callable[[], float] = time.time,
        detect: Callable[[], LocalDevice] = detect_device,
    ) -> None:
        """Args:
        python: interpreter of the task; it must be able to import `task_module`.
        env: added to this process's environment for the task.
        task_module: what `python -m` runs.
        clock: Unix time in seconds.
        detect: finds the device of this machine.
        """
        self._python = python
        self._env = dict(env or {})
        self._task_module = task_module
        self._clock = clock
        self._detect = detect

    def reserve(self, request: LaunchRequest) -> Handle:
        """The handle of the launch: the run's folder is enough to find its processes."""
        return Handle(engine=self.name, run_dir=str(request.run_dir.resolve()), name=request.run_id, details={})

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        """Start the runner, which starts the task; sources of model and data in the job must be absolute paths."""
        run_dir, offer = Path(handle.run_dir), request.offers[0]
        pinned = self._pinned(offer)
        started_at_s = self._clock()
        guard = request.guard_on(offer)
        if guard.billing_started_s is None:
            guard = replace(guard, billing_started_s=started_at_s)
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            job = replace(request.job, guard=guard, device=_device_of(offer))
            (run_dir / JOB_FILE).write_text(job.to_json(), encoding="utf-8")
            longest_s = self._arm(run_dir, request, offer, started_at_s)
            leader = self._start(run_dir, longest_s, {**pinned, **_secrets(request)})
        except (OSError, subprocess.SubprocessError) as error:
            raise EngineError(
                f"the local task cannot be started: {error}",
                hint=f"Check that {run_dir} can be written, has space, and that {self._python} exists.",
            ) from error
        return Launched(
            handle=replace(handle, details=asdict(leader)),
            offer=offer,
            billing_started_at_s=started_at_s,
            failed_attempts=(),
        )

    def status(self, handle: Handle) -> MachineState:
        """From the exit status that the runner wrote, else from the process table."""
        run_dir = Path(handle.run_dir)
        returncode = read_returncode(run_dir)
        if returncode is not None:
            return MachineState.SUCCEEDED if returncode == 0 else MachineState.FAILED
        if not processes_of(run_dir, _leader(handle)):
            return MachineState.GONE
        return MachineState.RUNNING if (run_dir / EVENTS_FILE).exists() else MachineState.STARTING

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        """Events from the events file, other lines from the log, until the task has ended and both are read."""
        run_dir = Path(handle.run_dir)
        events = EventTail(run_dir / EVENTS_FILE, after_seq=after_seq)
        log = LogTail(run_dir / LOG_FILE, after_seq=after_seq)
        ended = False
        while not ended:
            # Asked before reading: what was written before the end is read after it.
            ended = self._ended(handle)
            yield from events.read()
            yield from log.read()
            if not ended:
                time.sleep(POLL_S)
        yield from events.read_end()
        yield from log.read_end()

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        """SIGTERM to the task's own process; returns when it has ended; after grace_s SIGKILL to all.

        Helpers of the task get no SIGTERM: a data-loading worker that dies of it fails the trainer that would have
        saved its checkpoint. What the task leaves behind is ended by `down`.
        """
        run_dir, leader = Path(handle.run_dir), _leader(handle)
        signal_all(_tasks(leader) or processes_of(run_dir, leader), SIGTERM)
        deadline = time.monotonic() + grace_s
        while not self._ended(handle):
            if time.monotonic() >= deadline:
                # The runner lives on to write down how the task ended.
                signal_all((p for p in processes_of(run_dir, leader) if not _is(p, leader)), SIGKILL)
                return
            time.sleep(POLL_S)

    def fetch(self, handle: Handle) -> None:
        """Nothing to do: the task writes into the run's folder."""

    def down(self, handle: Handle) -> None:
        """End all processes of the run: SIGTERM, then SIGKILL.

        Raises:
            EngineError: something survived SIGKILL.
        """
        run_dir = Path(handle.run_dir)
        is_over = end_all(run_dir, _leader(handle), grace_s=DOWN_GRACE_S, patience_s=DOWN_PATIENCE_S)
        # Last: until here somebody has to end a run whose client is killed now.
        local_deadman.end(run_dir)
        if not is_over:
            raise EngineError(
                f"processes of {handle.name} survived SIGKILL",
                hint="A process in an uninterruptible system call ends when its disk or driver answers.",
            )

    def evidence(self, handle: Handle) -> Evidence:
        """Ask the process table what is left of the run."""
        asked_at_s = self._clock()
        source = "process table"
        try:
            found = processes_of(Path(handle.run_dir), _leader(handle))
            timer = local_deadman.find(Path(handle.run_dir))
            left = tuple(sorted(_describe(process) for process in (*found, *([] if timer is None else [timer]))))
        except (psutil.Error, OSError, ValueError, KeyError) as error:
            return Evidence(
                confirmed=False, asked_at_s=asked_at_s, source=source, answer=f"cannot be read: {error}", left=()
            )
        answer = f"{len(left)} processes of {handle.name} are left" if left else f"no process of {handle.name} is left"
        return Evidence(confirmed=not left, asked_at_s=asked_at_s, source=source, answer=answer, left=left)

    def ended_at_s(self, handle: Handle) -> float | None:
        """When the runner saw the task end; None: it saw no end."""
        return read_end_s(Path(handle.run_dir))

    def _pinned(self, offer: Offer) -> dict[str, str]:
        """Environment in which the task sees the offer's one device, whatever else the machine has.

        Raises:
            EngineError: the offer's GPU is not there.
        """
        if offer.accelerator is None:
            return {"CUDA_VISIBLE_DEVICES": ""}
        device = self._detect()
        if device.accelerator != offer.accelerator or device.accelerator_uuid is None:
            raise EngineError(
                f"the plan is for {offer.accelerator}, this machine now offers {device.accelerator or 'its CPU'}",
                hint="Check nvidia-smi and CUDA_VISIBLE_DEVICES, or plan again.",
            )
        return {"CUDA_VISIBLE_DEVICES": device.accelerator_uuid}

    def _arm(self, run_dir: Path, request: LaunchRequest, offer: Offer, started_at_s: float) -> float | None:
        """Start the dead-man timer, before anything else; the longest duration that the runner is to keep."""
        if GuardName.MACHINE not in request.guards:
            return None
        if local_deadman.is_possible():
            local_deadman.arm(run_dir, deadman_environment(request, [offer], billing_started_s=started_at_s))
        return request.max_duration_s

    def _start(self, run_dir: Path, max_duration_s: float | None, own: Mapping[str, str]) -> ProcessIdentity:
        task = [self._python, "-m", self._task_module, str(run_dir / JOB_FILE), "--out", str(run_dir)]
        limit = [] if max_duration_s is None else ["--max-duration-s", str(max_duration_s + DURATION_MARGIN_S)]
        # -P: neither the package's folder nor the user's may shadow the standard library.
        command = [sys.executable, "-P", local_runner.__file__, *limit, str(run_dir), "--", *task]
        environment = {
            **without_ledger_secrets(os.environ),
            "PYTHONUNBUFFERED": "1",
            **self._env,
            **own,
            MARK_VARIABLE: str(run_dir),
        }
        with (run_dir / LOG_FILE).open("ab") as log:
            runner = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=run_dir,
                env=environment,
                start_new_session=True,
            )
        # Takes the exit status as soon as there is one: no zombie stays while this client lives.
        threading.Thread(target=runner.wait, name=f"reap-{runner.pid}", daemon=True).start()
        return self._await_leader(run_dir, runner)

    def _await_leader(self, run_dir: Path, runner: subprocess.Popen[bytes]) -> ProcessIdentity:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            leader = read_leader(run_dir)
            if leader is not None and leader.pid == runner.pid:
                return leader
            if leader is not None:
                raise EngineError(
                    f"{run_dir} already belongs to a run (runner {leader.pid})",
                    hint="Start a run in a folder of its own.",
                )
            if runner.poll() is not None:
                break
            time.sleep(0.02)
        raise EngineError(
            "the runner of the local task did not start", hint=f"Read {run_dir / LOG_FILE} for what it said."
        )

    def _ended(self, handle: Handle) -> bool:
        run_dir, leader = Path(handle.run_dir), _leader(handle)
        if read_returncode(run_dir) is not None:
            return True
        if leader is not None and is_alive(leader):
            return False
        # A runner ends after it wrote the exit status; without a runner the process table decides.
        return read_returncode(run_dir) is not None or not processes_of(run_dir, leader)


def _secrets(request: LaunchRequest) -> dict[str, str]:
    """The task's secrets with their names, by which it knows what not to tell."""
    return {**request.secrets, NAMES_VARIABLE: ",".join(sorted(request.secrets))} if request.secrets else {}


def _device_of(offer: Offer) -> str:
    """The kind of device that the price and the plan are for, in the words of the job file."""
    return "cpu" if offer.accelerator is None else "cuda"


def _leader(handle: Handle) -> ProcessIdentity | None:
    if "pid" in handle.details:
        return ProcessIdentity(pid=int(handle.details["pid"]), created_at_s=float(handle.details["created_at_s"]))
    return read_leader(Path(handle.run_dir))


def _tasks(leader: ProcessIdentity | None) -> list[psutil.Process]:
    """The runner's own children: the task; empty without a runner."""
    if leader is None or not is_alive(leader):
        return []
    try:
        return list(psutil.Process(leader.pid).children())
    except psutil.NoSuchProcess:
        return []


def _is(process: psutil.Process, identity: ProcessIdentity | None) -> bool:
    return identity is not None and process.pid == identity.pid and identify(process.pid) is not None


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.name()}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (ended while asked)"
