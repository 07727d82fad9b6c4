"""A whole events file, read after its writer has ended; a torn last line is no event."""

from __future__ import annotations

from pathlib import Path

from manager.launch.local_tail import EventTail
from tasks.protocol import Event


def read_events(path: Path, *, after_seq: int = -1) -> tuple[Event, ...]:
    """Events with seq > after_seq in the order of the file, each once; none when there is no file.

    Lines that are no events (torn by a crash, then continued by a resume) are left out: an event that is lost by it
    shows as a gap, which the ledger refuses.
    """
    tail = EventTail(path, after_seq=after_seq)
    return tuple(item for part in (tail.read, tail.read_end) for item in part() if isinstance(item, Event))
