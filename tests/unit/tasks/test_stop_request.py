"""A request to stop in the run's bucket."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tasks.stop_request import STOP_OBJECT, StopRequestWatch
from tasks.stores.errors import GaveUpError
from tasks.stores.opening import open_store


def test_it_is_heeded_once_it_is_there(tmp_path: Path) -> None:
    store, asked = open_store(f"file://{tmp_path}/bucket/run-1"), threading.Event()
    watch = StopRequestWatch(store, every_s=0.01, stop=asked.set)
    assert not asked.wait(0.2)
    open_store(f"file://{tmp_path}/bucket/run-1").put_bytes(STOP_OBJECT, b"stop\n")
    assert asked.wait(10)
    watch.close()


def test_a_machine_that_comes_later_finds_it_too(tmp_path: Path) -> None:
    store, asked = open_store(f"file://{tmp_path}/bucket/run-1"), threading.Event()
    store.put_bytes(STOP_OBJECT, b"stop\n")
    StopRequestWatch(store, every_s=60, stop=asked.set)
    assert asked.wait(10)


def test_a_store_that_does_not_answer_asks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked, looks = open_store(f"file://{tmp_path}/bucket/run-1"), threading.Event(), threading.Semaphore(0)

    def silent(_key: str) -> bytes:
        looks.release()
        raise GaveUpError("no answer")

    monkeypatch.setattr(store, "get_bytes", silent)
    watch = StopRequestWatch(store, every_s=0.01, stop=asked.set)
    assert all(looks.acquire(timeout=10) for _ in range(3))
    assert not asked.is_set()
    watch.close()
