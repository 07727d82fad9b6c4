"""Reading files that another process still writes: whole lines only, a torn last line waits for its rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.protocol import EVENT_PREFIX, Event, ProtocolError, parse_event

CHUNK_BYTES = 1 << 20


class LineTail:
    """The lines of a growing file, each once; a file that does not exist yet is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def read_lines(self) -> Iterator[str]:
        """Complete lines since the last call, without their ends."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            while chunk := file.read(CHUNK_BYTES):
                self._offset += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode("utf-8", errors="replace")

    def take_rest(self) -> str:
        """What stands after the last line end; for a writer that has ended."""
        rest, self._rest = self._rest, b""
        return rest.decode("utf-8", errors="replace")


class EventTail:
    """Events of a growing events file with seq > after_seq, each once."""

    def __init__(self, path: Path, *, after_seq: int) -> None:
        self._tail = LineTail(path)
        self._last_seq = after_seq

    def read(self) -> Iterator[Event | str]:
        """New events; a line that is none (torn by a crash, continued by a resume) comes as text that says so."""
        for line in self._tail.read_lines():
            if not line.strip():
                continue
            try:
                event = parse_event(line)
            except ProtocolError as error:
                yield f"unreadable line in the events file: {error}"
                continue
            if event.seq > self._last_seq:
                self._last_seq = event.seq
                yield event

    def read_end(self) -> Iterator[Event | str]:
        """A last event whose line end is missing, when it is whole otherwise."""
        rest = self._tail.take_rest()
        if not rest.strip():
            return
        try:
            event = parse_event(rest)
        except ProtocolError:
            yield "the last line of the events file is torn"
            return
        if event.seq > self._last_seq:
            self._last_seq = event.seq
            yield event


class LogTail:
    """Log lines that are no events, each once; after a resume from where the stream had broken."""

    def __init__(self, path: Path, *, after_seq: int) -> None:
        self._tail = LineTail(path)
        self._after_seq = after_seq
        self._skipping = after_seq >= 0

    def read(self) -> Iterator[str]:
        """New lines; of a progress bar (carriage returns) only its last state."""
        for line in self._tail.read_lines():
            yield from self._line(line)

    def read_end(self) -> Iterator[str]:
        """The last line when its end is missing."""
        rest = self._tail.take_rest()
        if rest:
            yield from self._line(rest)

    def _line(self, line: str) -> Iterator[str]:
        if line.startswith(EVENT_PREFIX):
            self._skipping = self._skipping and not self._reached(line)
        elif not self._skipping:
            yield line.rstrip("\r").rsplit("\r", 1)[-1]

    def _reached(self, line: str) -> bool:
        try:
            return parse_event(line.removeprefix(EVENT_PREFIX)).seq >= self._after_seq
        except ProtocolError:
            return False
