"""Runs something of an engine that blocks in a thread of its own, so that supervision keeps its rhythm."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from manager.launch.engine import MachineNews
from tasks.plain_text import log_text
from tasks.protocol import Event
from tasks.redaction import LineRedactor, own_redactor

CAPACITY = 10_000
"""Items between the engine and the ledger; a full queue makes the stream wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """The stream ended."""

    error: Exception | None
    """Why it broke, or None when the task ended."""


class Pump:
    """Reads a stream in a thread until it ends or is abandoned; a log line holds no secret, commands no terminal."""

    def __init__(self, stream: Callable[[], Iterator[Event | str | MachineNews]]) -> None:
        self._stream = stream
        self._lines = LineRedactor(own_redactor())
        self._queue: queue.Queue[Event | str | MachineNews | StreamEnd] = queue.Queue(maxsize=CAPACITY)
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="stream", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> Event | str | MachineNews | StreamEnd | None:
        """The next item, or None when none came in time."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def abandon(self) -> None:
        """Stop reading; what the stream still holds is fetched later."""
        self._abandoned.set()

    def _pump(self) -> None:
        error: Exception | None = None
        try:
            for item in self._stream():
                self._put(self._lines.line(log_text(item)) if isinstance(item, str) else item)
                if self._abandoned.is_set():
                    return
        except Exception as caught:  # Whatever broke the stream is raised again in the thread that supervises.
            error = caught
        self._put(StreamEnd(error=error))

    def _put(self, item: Event | str | MachineNews | StreamEnd) -> None:
        while not self._abandoned.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue


class Background:
    """One call in a thread; its error is kept for whoever asks."""

    def __init__(self, call: Callable[[], None], name: str) -> None:
        self._call = call
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the call has returned."""
        return not self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Wait for the call to return."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:  # A thread has nobody to raise to; the teardown that follows does not rely on it.
            self.error = error
