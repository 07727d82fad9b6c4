"""A run's events in a store: objects that never change, named by the first and last sequence number in them.

Put together in order they are the events file. What stands in two parts (a request that was thought lost) stands in
both alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tasks.protocol import Event, ProtocolError, parse_event
from tasks.stores.errors import CorruptError
from tasks.stores.store import Store

EVENTS_PREFIX = "events"
_NAME = re.compile(rf"{EVENTS_PREFIX}/(\d+)-(\d+)\.jsonl")
_THREADS = 16
"""Parts are small: reading many is waiting for answers."""


def put_part(store: Store, events: Sequence[Event]) -> None:
    """Store events that follow each other as one part.

    Raises:
        StoreError: they are not stored.
    """
    first, last = events[0].seq, events[-1].seq
    content = "".join(event.to_line() + "\n" for event in events)
    store.put_bytes(f"{EVENTS_PREFIX}/{first:09d}-{last:09d}.jsonl", content.encode())


def read_parts(store: Store, *, after_seq: int = -1) -> tuple[Event, ...]:
    """Events with seq > after_seq, in order and without gaps.

    Raises:
        CorruptError: a number is missing, is there twice with other content, or a line is no event.
        StoreError: the store did not answer.
    """
    names = [match for entry in store.list(f"{EVENTS_PREFIX}/") if (match := _NAME.fullmatch(entry.key))]
    wanted = [match[0] for match in sorted(names, key=lambda one: int(one[1])) if int(match[2]) > after_seq]
    with ThreadPoolExecutor(_THREADS) as pool:
        contents = list(pool.map(store.get_bytes, wanted))
    found: dict[int, Event] = {}
    for name, content in zip(wanted, contents, strict=True):
        for event in _events(name, content):
            if found.setdefault(event.seq, event) != event:
                raise CorruptError(
                    f"event {event.seq} stands in {store.uri} twice, and differently",
                    hint="Two training programs wrote to one run's folder; start a new run.",
                )
    events = tuple(found[seq] for seq in sorted(found) if seq > after_seq)
    for seq, event in enumerate(events, start=after_seq + 1):
        if event.seq != seq:
            raise CorruptError(f"event {seq} is missing in {store.uri}")
    return events


def _events(name: str, content: bytes) -> list[Event]:
    try:
        # Only "\n" ends a line: JSON allows what else Python takes for one.
        return [parse_event(line) for line in content.decode("utf-8").split("\n") if line]
    except (ProtocolError, UnicodeDecodeError) as error:
        raise CorruptError(f"{name} holds something that is no event: {error}") from error
