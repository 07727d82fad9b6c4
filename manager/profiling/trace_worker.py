"""The tracing process: `python -m tasks.profile`, started once, asked line by line, killed with the manager."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict
from typing import IO, Any

from manager.errors import DataError, how_to_install
from tasks.step_trace import TraceRequest

Json = dict[str, Any]

_WORKER = "tasks.profile"
_SAID_BYTES = 4096


class TraceWorker:
    """A warm tracing process; safe to be asked from several threads, one request at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._said: IO[bytes] | None = None
        self._turn = threading.Lock()

    def start(self) -> None:
        """Start the process if it does not run: it loads its libraries while it waits.

        Raises:
            DataError: it cannot be started.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            # -P: a folder called `tasks` in the working directory must not stand in for ours.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                encoding="utf-8",
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            self.close()
            raise DataError(f"the tracing worker cannot be started: {error}", hint="install tunefare again") from error
        self._answers = queue.Queue()
        threading.Thread(target=_forward, args=(self._process.stdout, self._answers), daemon=True).start()
        atexit.register(self.close)

    def ask(self, request: TraceRequest, *, with_rank: bool = False, timeout_s: float) -> Json:
        """The trace as JSON.

        Raises:
            DataError: the worker's own error with its hint, no answer in time, or no readable answer.
        """
        with self._turn:
            self.start()
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                line = json.dumps({"request": asdict(request), "with_rank": with_rank})
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
                answer = self._answers.get(timeout=timeout_s)
            except queue.Empty:
                self.close()
                raise DataError(
                    f"tracing the training step took longer than {timeout_s:g} s",
                    hint="raise measure_timeout_s in the settings",
                ) from None
            except OSError:
                answer = None
            except BaseException:  # Ctrl-C: the answer to this request must not be taken for the next one's.
                self.close()
                raise
            return self._read(answer)

    def close(self) -> None:
        """End the process, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.close)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self._said is not None:
            self._said.close()
            self._said = None

    def _read(self, line: str | None) -> Json:
        try:
            answer = json.loads(line or "")
            if "error" not in answer:
                return dict(answer["trace"])
            failure = answer["error"]
            if not isinstance(failure["message"], str):
                raise TypeError("no message")
            raise DataError(failure["message"], hint=failure.get("hint"))
        except (ValueError, KeyError, TypeError) as error:
            said = self._last_words()
            self.close()
            raise DataError(
                f"the tracing worker gave no answer: {said}",
                hint=f"`tunefare doctor` tells what is missing; {how_to_install('local')}",
            ) from error

    def _last_words(self) -> str:
        if self._said is None:
            return "it did not start"
        end = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, end - _SAID_BYTES))
        lines = self._said.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing on standard error"


def _forward(stream: IO[str] | None, answers: queue.Queue[str | None]) -> None:
    """Lines of the process into the queue; None at the end."""
    assert stream is not None
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            answers.put(line)
    answers.put(None)
