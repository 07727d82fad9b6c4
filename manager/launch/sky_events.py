"""One event stream out of two sources: the log that SkyPilot streams, and the events file of the machine.

Pure. The log is fast but may break, lose lines and start again from its first line; the file is the truth. Whatever
comes from either goes out once, in the order of the sequence numbers, without gaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.protocol import EVENT_PREFIX, Event, EventType, ProtocolError, parse_event

_TASK_LINE = re.compile(r"^\([^()]*pid=\d+[^()]*\) ?")
"""SkyPilot's mark before each line of a task: `(name, pid=123) `."""


class EventMerger:
    """Takes lines and files in any order and gives each event once."""

    def __init__(self, *, after_seq: int) -> None:
        self._next_seq = after_seq + 1
        self._waiting: dict[int, Event] = {}
        self._texts_seen = 0
        self._texts_to_skip = 0
        self.last: Event | None = None
        """The event that went out last."""

    @property
    def has_gap(self) -> bool:
        """Whether an event waits for one before it, which only the file can give."""
        return bool(self._waiting)

    @property
    def is_complete(self) -> bool:
        """Whether the program's last word has gone out."""
        return self.last is not None and self.last.type in (EventType.FINISHED, EventType.FAILED)

    @property
    def next_seq(self) -> int:
        """Sequence number of the event that is expected next."""
        return self._next_seq

    def restart(self) -> None:
        """The log starts again from its first line: texts that went out are not to go out twice."""
        self._texts_to_skip, self._texts_seen = self._texts_seen, 0

    def take_log_line(self, line: str) -> Iterator[Event | str]:
        """One line of the streamed log; SkyPilot's own lines pass as text on the first reading only."""
        _, mark, payload = line.partition(EVENT_PREFIX)
        if mark:
            try:
                yield from self._take(parse_event(payload.strip()))
            except ProtocolError:
                # Torn by a broken stream; the file has it whole.
                return
            return
        text, is_task_line = _TASK_LINE.subn("", line)
        if is_task_line:
            self._texts_seen += 1
            if self._texts_seen > self._texts_to_skip:
                yield text
        elif self._texts_to_skip == 0 and line.strip():
            yield line

    def take_file(self, content: bytes) -> Iterator[Event]:
        """The events file as far as it was read; a last line without an end is still being written."""
        whole, _, _ = content.rpartition(b"\n")
        for line in whole.split(b"\n"):
            if line.strip():
                try:
                    event = parse_event(line.decode("utf-8", errors="replace"))
                except ProtocolError:
                    # A line torn by a crash of the program; the resumed program writes its number again.
                    continue
                yield from self._take(event)

    def take_rest(self) -> Iterator[str]:
        """A text about what waits behind a gap, for the end, when no source can fill it; the ledger takes no gaps."""
        if self._waiting:
            first, last = min(self._waiting), max(self._waiting)
            lost = _span(self._next_seq, first - 1)
            yield f"tunefare: {lost} never arrived; what came after, from {_span(first, last)}, is left out"
            self._waiting.clear()

    def _take(self, event: Event) -> Iterator[Event]:
        if event.seq >= self._next_seq:
            self._waiting[event.seq] = event
        while self._next_seq in self._waiting:
            yield self._emit(self._waiting.pop(self._next_seq))

    def _emit(self, event: Event) -> Event:
        self._next_seq = event.seq + 1
        self.last = event
        return event


def _span(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"events {first} to {last}"
