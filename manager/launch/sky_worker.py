"""The manager's end of a worker process: start it, ask it, give up on it in time.

Owns the process and its time limits. A worker that does not answer in time is killed, never waited for; what it had
started at a provider is the engine's to take down.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from manager.config import without_ledger_secrets
from manager.errors import EngineError
from tasks.redaction import LineRedactor, own_redactor, redact

COMMAND = (sys.executable, "-P", "-m", "manager.launch.sky_backend")
"""-P: a folder named `sky` or `tasks` where the user works must not be imported."""
_CLOSED: dict[str, Any] = {"closed": True}
ENDPOINT_VARIABLE = "SKYPILOT_API_SERVER_ENDPOINT"
"""Which API server SkyPilot asks; it goes before SkyPilot's own settings."""
_LET_GO_S = 1.0
"""For a request to end by itself, before it is cut off for the thread that takes the machine down."""
_api_server: str | None = None


def use_api_server(endpoint: str | None) -> None:
    """Which API server the workers of this process ask from now on; None: as SkyPilot's own settings say.

    Said once a process and not with each worker: one that asked another server would not find this user's machines.
    """
    global _api_server
    _api_server = endpoint


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a worker, and an API server that it starts and that outlives it, sees of the environment."""
    seen = without_ledger_secrets(environment)
    return seen if _api_server is None else {**seen, ENDPOINT_VARIABLE: _api_server}


class SkyPilotError(EngineError):
    """SkyPilot, or the way to it, answered with an error."""

    def __init__(self, kind: str, message: str, *, history: Sequence[str] = (), hint: str | None = None) -> None:
        message = redact(message)
        super().__init__(f"SkyPilot: {message}" if message else f"SkyPilot: {kind}", hint=hint)
        self.kind = kind
        """Name of SkyPilot's exception class; `Timeout` and `WorkerEnded` are ours."""
        self.history = tuple(map(redact, history))
        """What SkyPilot had tried, oldest first."""


class SkyWorker:
    """One worker process, started at the first request and again after it was killed; one request at a time."""

    def __init__(self, *, command: Sequence[str] = COMMAND, log_path: Path | None = None) -> None:
        """Args:
        command: the worker's program.
        log_path: where what SkyPilot says is appended; None: nowhere.
        """
        self._command = tuple(command)
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._last_id = 0
        self._lock = threading.RLock()
        self._owner: int | None = None

    def call(
        self, op: str, args: dict[str, Any], *, timeout_s: float, give_up: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """The result of one request.

        Args:
            op: name of the request.
            args: its values.
            timeout_s: longest wait.
            give_up: asked about each half second; true ends the wait.

        Raises:
            SkyPilotError: SkyPilot's error, or kind `Timeout` or `Cancelled` (the worker is killed), or `WorkerEnded`.
        """
        with self._lock:
            self._refuse_others(op)
            deadline = time.monotonic() + timeout_s
            for answer in self._exchange(op, args):
                if answer is not None and "result" in answer:
                    return dict(answer["result"])
                if give_up():
                    self.kill()
                    raise SkyPilotError("Cancelled", f"'{op}' was cancelled")
                if time.monotonic() >= deadline:
                    self.kill()
                    raise SkyPilotError("Timeout", f"no answer to '{op}' within {timeout_s:g} s")
            raise AssertionError("an exchange ends with a result or an error")

    def lines(self, op: str, args: dict[str, Any], *, silence_s: float) -> Generator[str | None]:
        """The lines of one request until its result; None each time that nothing came for `silence_s`.

        Raises:
            SkyPilotError: as `call`; there is no time limit, the caller closes the iterator when it has waited enough.
        """
        with self._lock:
            self._refuse_others(op)
            finished = False
            quiet_since = time.monotonic()
            try:
                for answer in self._exchange(op, args):
                    if answer is None and time.monotonic() - quiet_since < silence_s:
                        continue
                    quiet_since = time.monotonic()
                    if answer is None:
                        yield None
                    elif "line" in answer:
                        yield answer["line"]
                    elif "result" in answer:
                        finished = True
                        return
            finally:
                if not finished:
                    self.kill()

    def take_over(self) -> bool:
        """From now on this thread alone is served: a request of another one is cut off, its later ones are refused.

        A take-down must not wait for results that come home slowly, or from a machine that does not answer. True:
        something was cut off.
        """
        self._owner = threading.get_ident()
        was_cut = False
        while not self._lock.acquire(timeout=_LET_GO_S):
            # Again and again: the other one may have been about to start a process.
            self.kill()
            was_cut = True
        self._lock.release()
        return was_cut

    def kill(self) -> None:
        """End the process and its children now; the next request starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    close = kill

    def _refuse_others(self, op: str) -> None:
        if self._owner not in (None, threading.get_ident()):
            raise SkyPilotError("Cancelled", f"'{op}' was cancelled: the machine is being taken down")

    def _exchange(self, op: str, args: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
        """Answers to one request, the result last; None about each half second without one."""
        request_id = self._send(op, args)
        while True:
            try:
                answer = self._answers.get(timeout=0.5)
            except queue.Empty:
                yield None
                continue
            if answer is _CLOSED:
                self.kill()
                raise SkyPilotError("WorkerEnded", f"the worker process ended during '{op}'", hint=self._log_hint())
            if answer.get("id") != request_id:
                continue
            if "error" in answer:
                error = answer["error"]
                raise SkyPilotError(
                    error["kind"], error["message"], history=error.get("history", ()), hint=self._log_hint()
                )
            yield answer
            if "result" in answer:
                return

    def _send(self, op: str, args: dict[str, Any]) -> int:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._last_id += 1
        line = json.dumps({"id": self._last_id, "op": op, "args": args}) + "\n"
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            self.kill()
            raise SkyPilotError("WorkerEnded", "the worker process is gone", hint=self._log_hint()) from error
        return self._last_id

    def _start(self) -> None:
        self._answers = queue.SimpleQueue()
        log = None
        if self._log_path is not None:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            log = self._log_path.open("a", encoding="utf-8", buffering=1)
        # A session of its own: Ctrl-C is for the manager, which takes down in order.
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if log is None else subprocess.PIPE,
            # SkyPilot's API server, when this starts it, keeps the folder and imports from it.
            cwd="/",
            env=worker_environment(os.environ),
            start_new_session=True,
        )
        self._process = process
        if log is not None:
            threading.Thread(target=_keep, args=(process, log), daemon=True).start()
        threading.Thread(target=_read, args=(process, self._answers), daemon=True).start()
        weakref.finalize(self, _end, process)

    def _log_hint(self) -> str | None:
        return None if self._log_path is None else f"Read {self._log_path} for what SkyPilot said."


def _read(process: subprocess.Popen[bytes], answers: queue.SimpleQueue[dict[str, Any]]) -> None:
    assert process.stdout is not None
    with process.stdout as stdout:
        for line in stdout:
            answers.put(json.loads(line))
    answers.put(_CLOSED)


def _keep(process: subprocess.Popen[bytes], log: IO[str]) -> None:
    """Write down what SkyPilot says, without secrets; it is read to its end also where the disk is full."""
    assert process.stderr is not None
    lines = LineRedactor(own_redactor())
    with log, process.stderr as stderr:
        for line in stderr:
            with contextlib.suppress(OSError):
                log.write(lines.line(line.decode("utf-8", "replace")))


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its group holds ssh and rsync; SkyPilot's API server has a session of its own and lives on.
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
