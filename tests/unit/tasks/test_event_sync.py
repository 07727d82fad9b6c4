"""Events on their way through a store: each is told once, also where the store gives up late."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tasks.event_sync import EventSync
from tasks.protocol import Event
from tasks.stores.event_parts import put_part
from tasks.stores.opening import open_store
from tests.unit.runs.samples import event


@pytest.fixture
def told() -> list[Event]:
    return []


def sync_of(folder: Path, told: list[Event], every_s: float) -> EventSync:
    sync = EventSync(open_store(f"file://{folder}/bucket"), folder / "pending", told.extend, every_s=every_s)
    sync.start(published_seq=-1)
    return sync


def test_what_is_settled_has_been_told(tmp_path: Path, told: list[Event]) -> None:
    sync = sync_of(tmp_path, told, 60.0)
    for seq in range(3):
        sync.take(event(seq))
    sync.settle(10.0)
    assert [one.seq for one in told] == [0, 1, 2]
    sync.close()
    assert [one.seq for one in told] == [0, 1, 2]


def test_a_store_that_answers_after_the_end_has_nothing_told_twice(
    tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def late(*arguments: object) -> None:
        answers.wait(30)
        put_part(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("tasks.event_sync.put_part", late)
    sync = sync_of(tmp_path, told, 0.0)
    sync.take(event(0))
    sync.close(limit_s=0.1)
    assert [one.seq for one in told] == [0]
    answers.set()
    sync._thread.join(10)
    assert [one.seq for one in told] == [0]
