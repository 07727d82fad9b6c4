"""Events of a run with a store: stored first, told afterwards.

A machine that is lost takes the events with it that its store has not. Were they told at home before, the machine that
goes on would give their numbers to others. So an event waits in a file of its own (`events.pending.jsonl`) until the
part that holds it is in the store; then it goes to the events file and to standard output. It waits for `every_s` at
most, and not at all where somebody waits for it: start, checkpoint, evaluation, warning, end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.protocol import Event, EventType, ProtocolError, parse_event
from tasks.stores.errors import StoreError
from tasks.stores.event_parts import put_part
from tasks.stores.store import Store

PENDING_FILE = "events.pending.jsonl"
CLOSE_LIMIT_S = 120.0
"""For the last events to be stored; then they are told without."""
_AFTER_FAILURE_S = 15.0
_CAN_WAIT = frozenset({EventType.PHASE, EventType.TRAIN, EventType.DATA, EventType.MODEL})


class EventSync:
    """Takes events from any thread, stores them in order, publishes them."""

    def __init__(
        self, store: Store, pending_file: Path, publish: Callable[[Sequence[Event]], None], *, every_s: float
    ) -> None:
        """Args:
        store: of the run.
        pending_file: holds what is not published yet, for a start after a kill.
        publish: appends to the events file and says it; raises OSError where the disk is full.
        every_s: oldest event that is not stored.
        """
        self._store = store
        self._file = pending_file
        self._publish = publish
        self._every_s = every_s
        self._pending: list[Event] = []
        self._oldest_s = 0.0
        self._published_seq = -1
        self._urgent = False
        self._closing = False
        self._is_abandoned = False
        self._is_telling = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="event-sync", daemon=True)

    def start(self, *, published_seq: int) -> None:
        """Begin; everything up to published_seq is stored and published."""
        self._published_seq = published_seq
        self._file.unlink(missing_ok=True)
        self._thread.start()

    def take(self, event: Event) -> None:
        """An event of which the store knows nothing yet.

        Raises:
            OSError: it cannot be written down; it does not count.
        """
        with self._changed:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(event.to_line() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._add(event)

    def take_last(self, event: Event) -> None:
        """The event that tells why the program ends, which a full disk does not keep from the store."""
        with self._changed:
            self._add(event)

    def wait_for(self, seq: int, *, limit_s: float) -> bool:
        """Whether everything up to this number is stored, within this time."""
        deadline = time.monotonic() + limit_s
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._published_seq >= seq or not self._thread.is_alive(), deadline - time.monotonic()
            ) and (self._published_seq >= seq)

    def settle(self, limit_s: float) -> None:
        """Wait until nothing is pending, for a program that ends without `close`."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_through() or not self._thread.is_alive(), limit_s)

    def close(self, *, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Store and publish what is left; what the store does not take in time is published without it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(limit_s)
        if self._thread.is_alive():
            self._store.cancel()
            self._thread.join(2.0)
        with self._changed:
            # A thread that still waits for the store must not tell them again.
            self._is_abandoned = True
            left, self._pending = self._pending, []
        if left:
            _say(f"{len(left)} events are not in {self._store.uri}; they are told without it.")
            self._publish(left)

    def _add(self, event: Event) -> None:
        if not self._pending:
            self._oldest_s = time.monotonic()
        self._pending.append(event)
        self._urgent = self._urgent or event.type not in _CAN_WAIT
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_due():
                    if self._closing and not self._pending:
                        return
                    left_s = self._every_s - (time.monotonic() - self._oldest_s) if self._pending else None
                    self._changed.wait(left_s)
                batch, self._urgent = list(self._pending), False
            try:
                put_part(self._store, batch)
            except StoreError as error:
                _say(f"events cannot be stored: {error.message}")
                if self._closing:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _AFTER_FAILURE_S)
                continue
            self._tell(batch)

    def _is_through(self) -> bool:
        return not self._pending and not self._is_telling

    def _is_due(self) -> bool:
        if not self._pending:
            self._urgent = False
            return False
        return self._urgent or self._closing or time.monotonic() - self._oldest_s >= self._every_s

    def _tell(self, batch: list[Event]) -> None:
        with self._changed:
            if self._is_abandoned:
                return
            # Told once: from here on by this thread alone.
            self._pending = self._pending[len(batch) :]
            self._is_telling = True
        try:
            self._publish(batch)
        except OSError as error:
            # They are in the store, which is the truth; the next start writes them here.
            _say(f"events cannot be written: {error}")
        with self._changed:
            self._is_telling = False
            self._oldest_s = time.monotonic()
            self._published_seq = batch[-1].seq
            try:
                _replace(self._file, self._pending)
            except OSError as error:
                _say(f"{self._file.name} cannot be written: {error}")
            self._changed.notify_all()


def read_pending(file: Path) -> list[Event]:
    """What a killed program had not published; a torn last line is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(parse_event(line))
        except ProtocolError:
            break
    return found


def _replace(file: Path, events: Sequence[Event]) -> None:
    if not events:
        file.unlink(missing_ok=True)
        return
    aside = file.with_suffix(".partial")
    aside.write_text("".join(event.to_line() + "\n" for event in events), encoding="utf-8")
    aside.replace(file)


def _say(message: str) -> None:
    sys.stderr.write(f"tasks.train: {message}\n")
