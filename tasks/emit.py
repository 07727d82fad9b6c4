"""Writes the event stream: appends to events.jsonl and says the same line on standard output.

The file is the truth: `seq` goes on from its last line, a torn last line (the program was killed while writing) is cut
off, and what it already holds is not said again after a resume, so that a consumer never sees a step twice.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from tasks.heartbeat import HEART
from tasks.protocol import EVENT_PREFIX, Event, EventType, NewerVersionError, ProtocolError, parse_event
from tasks.redaction import own_redactor


class Sync(Protocol):
    """Takes events on their way to somewhere else before they are published (`tasks.event_sync`)."""

    def take(self, event: Event) -> None:
        """Write it down; OSError where that cannot be done."""
        ...

    def take_last(self, event: Event) -> None:
        """Without the disk."""
        ...

    def settle(self, limit_s: float) -> None:
        """Wait until all of them are published."""
        ...


_QUOTES_OTHERS = frozenset({EventType.WARNING, EventType.FAILED})
"""Whose messages are those of libraries, which may quote a token or an address with a password."""

_FINAL = frozenset({EventType.FINISHED, EventType.FAILED})


class EventWriter:
    """The one writer of a run's events in one start of the program; silent on all processes but the first.

    The first final event of a start is its only one: until the last upload is through the heartbeat keeps cap and
    patience, and the alarm listens for other processes, and neither changes how the run ended. Earlier starts have
    their own.
    """

    def __init__(
        self,
        path: Path,
        *,
        is_main: bool = True,
        stdout: TextIO | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the stream, repairing a torn last line.

        Args:
            path: events.jsonl; created when missing. All processes read it, the first one writes.
            is_main: whether this is the first process of the run.
            stdout: where lines go behind EVENT_PREFIX; None: standard output.
            clock: Unix time in seconds.

        Raises:
            OSError: the file cannot be read or repaired.
            NewerVersionError: a newer program wrote the file; it is left as it is.
        """
        self._path = path
        self._is_main = is_main
        self._stdout = stdout or sys.stdout
        self._clock = clock
        self._lock = threading.RLock()
        self._sync: Sync | None = None
        self._has_ended = False
        self.events = _read_and_repair(path, repair=is_main)
        """All events of the run: those that were in the file when it was opened, and those of this start."""
        self._next_seq = self.events[-1].seq + 1 if self.events else 0

    def emit(self, event_type: EventType, /, **data: Any) -> None:
        """Write one event to the file, force it to disk, then say it on standard output; no second final one.

        Raises:
            OSError: the file cannot be written; it still ends with a whole line.
        """
        HEART.progress(
            phase=data.get("name") if event_type is EventType.PHASE else None,
            step=data.get("step") if event_type is EventType.TRAIN else None,
        )
        if self._is_main:
            # The watch over a main thread that is stuck says the last word from a thread of its own: both may end now.
            with self._lock:
                is_final = event_type in _FINAL
                if not (is_final and self._has_ended):
                    self._write(event_type, data)
                    self._has_ended |= is_final

    def _write(self, event_type: EventType, data: dict[str, Any]) -> None:
        event = self._next(event_type, data)
        line = event.to_line()
        if self._sync is None:
            self._append(line + "\n")
        else:
            self._sync.take(event)
        self._next_seq += 1
        self.events.append(event)
        if self._sync is None:
            self._say(line)

    def _append(self, lines: str) -> None:
        size = self._path.stat().st_size if self._path.exists() else 0
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(lines)
                stream.flush()
                # A machine that vanishes must not leave fewer lines here than the log stream already carried.
                os.fsync(stream.fileno())
        except OSError:
            if self._path.exists():
                os.truncate(self._path, size)
            raise

    def emit_last(self, event_type: EventType, /, **data: Any) -> None:
        """As `emit`, for the event that tells why the program ends: a full disk does not keep it from the stream."""
        with self._lock:
            try:
                self.emit(event_type, **data)
            except OSError:
                if self._is_main and self._sync is not None:
                    self._sync.take_last(self._next(event_type, data))
                elif self._is_main:
                    self._say(self._next(event_type, data).to_line())
                self._has_ended = True

    def go_through(self, sync: Sync) -> None:
        """From now on events are published by whoever takes them, when it has them safe."""
        self._sync = sync

    def settle(self, limit_s: float) -> None:
        """Wait until all events are published, for a program that ends at once."""
        if self._sync is not None:
            self._sync.settle(limit_s)

    def publish(self, events: Sequence[Event]) -> None:
        """Write events that are safe to the file and say them.

        Raises:
            OSError: the file cannot be written; they are said all the same.
        """
        lines = [event.to_line() for event in events]
        with self._lock:
            try:
                self._append("".join(line + "\n" for line in lines))
            finally:
                for line in lines:
                    self._say(line)

    def adopt(self, events: list[Event]) -> None:
        """Know these events instead of those of the file, which lies on another machine."""
        self.events = events
        self._next_seq = events[-1].seq + 1 if events else 0

    def warn(self, code: str, message: str) -> None:
        """Emit a warning."""
        self.emit(EventType.WARNING, code=code, message=message)

    def find(self, event_type: EventType, **data: Any) -> list[Event]:
        """Events of the run that have this type and these fields, oldest first."""
        return [
            event
            for event in self.events
            if event.type is event_type and all(event.data.get(name) == value for name, value in data.items())
        ]

    def running_s(self, started_s: float) -> float:
        """Seconds that the program has run so far, over all starts; `started_s` is the Unix time of this one."""
        spans: list[list[float]] = []
        for event in self.events:
            if event.time_s >= started_s:
                break
            if event.type is EventType.STARTED or not spans:
                spans.append([event.time_s, event.time_s])
            spans[-1][1] = event.time_s
        return self._clock() - started_s + sum(last - first for first, last in spans)

    def _next(self, event_type: EventType, data: dict[str, Any]) -> Event:
        if event_type in _QUOTES_OTHERS:
            data = own_redactor().data(data)
        return Event(seq=self._next_seq, time_s=self._clock(), type=event_type, data=data)

    def _say(self, line: str) -> None:
        try:
            self._stdout.write(f"{EVENT_PREFIX}{line}\n")
            self._stdout.flush()
        except BrokenPipeError:
            # Whoever read the stream is gone; the run goes on, the file has everything.
            self._stdout = io.StringIO()


def _read_and_repair(path: Path, *, repair: bool) -> list[Event]:
    if not path.exists():
        return []
    content = path.read_bytes()
    whole, newline, torn = content.rpartition(b"\n")
    events: list[Event] = []
    # Only "\n" ends a line: messages may hold what `splitlines` takes for one (U+0085, U+2028), as JSON allows it.
    for line in whole.decode("utf-8", errors="replace").split("\n"):
        try:
            events.append(parse_event(line))
        except NewerVersionError:
            # Going on would number events as if these had not been.
            raise
        except ProtocolError:
            # A line spoilt in the middle (a bad disk) is the consumer's to report; here only the count matters.
            continue
    if repair and torn:
        os.truncate(path, len(whole) + len(newline))
    return events
