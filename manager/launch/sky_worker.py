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
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from manager.errors import EngineError

COMMAND = (sys.executable, "-P", "-m", "manager.launch.sky_backend")
"""-P: a folder named `sky` or `tasks` where the user works must not be imported."""
_CLOSED: dict[str, Any] = {"closed": True}


class SkyPilotError(EngineError):
    """SkyPilot, or the way to it, answered with an error."""

    def __init__(self, kind: str, message: str, *, history: Sequence[str] = (), hint: str | None = None) -> None:
        super().__init__(f"SkyPilot: {message}" if message else f"SkyPilot: {kind}", hint=hint)
        self.kind = kind
        """Name of SkyPilot's exception class; `Timeout` and `WorkerEnded` are ours."""
        self.history = tuple(history)
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

    def kill(self) -> None:
        """End the process and its children now; the next request starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    close = kill

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
        with contextlib.ExitStack() as stack:
            log: Any = subprocess.DEVNULL
            if self._log_path is not None:
                self._log_path.parent.mkdir(parents=True, exist_ok=True)
                log = stack.enter_context(self._log_path.open("ab"))
            # A session of its own: Ctrl-C is for the manager, which takes down in order.
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # SkyPilot's API server, when this starts it, keeps the folder and imports from it.
                cwd="/",
                start_new_session=True,
            )
        self._process = process
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


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its group holds ssh and rsync; SkyPilot's API server has a session of its own and lives on.
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
