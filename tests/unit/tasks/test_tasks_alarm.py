"""Processes of one run that hear of each other's failures and silence, over a store on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any

import pytest
from torch import distributed

from tasks import alarm
from tasks.alarm import Alarm
from tasks.failures import TaskError
from tasks.protocol import FailureCode

pytestmark = pytest.mark.torch
_FULL = TaskError(FailureCode.DISK_FULL, "The disk is full.", hint="Ask for a larger one.")


class Process:
    """One process's alarm, with what it told and how it ended."""

    def __init__(self) -> None:
        self.told: list[TaskError] = []
        self.status: int | None = None
        self.ended = Flag()
        self.alarm = Alarm(self.told.append, self._end)

    def _end(self, status: int) -> None:
        self.status = status
        self.ended.set()


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Process]]:
    """Makes processes that have met; all are disarmed at the end."""
    store: Any = distributed.TCPStore  # type: ignore[attr-defined]
    server = store("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(server.port))
    monkeypatch.setattr(alarm, "_PERIOD_S", 0.01)
    monkeypatch.setattr(alarm, "_BEAT_S", 0.02)
    monkeypatch.setattr(alarm, "_GRACE_S", 0.05)
    made: list[Process] = []

    def make() -> Process:
        made.append(Process())
        return made[-1]

    yield make
    for one in made:
        one.alarm.disarm()
    del server


def test_one_failure_ends_all(process: Callable[[], Process]) -> None:
    first, second = process(), process()
    first.alarm.arm(0, 2)
    second.alarm.arm(1, 2)
    own = second.alarm.first_failure(_FULL)
    assert (own.code, own.message, own.hint) == (_FULL.code, _FULL.message, _FULL.hint)
    assert first.ended.wait(20)
    assert (first.status, first.told[0].message) == (3, "The disk is full.")
    # What follows from it is not what failed.
    lost = TaskError(FailureCode.INTERNAL, "RuntimeError: connection closed")
    assert first.alarm.first_failure(lost).message == "The disk is full."


def test_a_silent_process_is_missed(process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm, "SILENCE_S", 0.3)
    first, second = process(), process()
    first.alarm.arm(0, 3)
    second.alarm.arm(1, 3)
    assert first.ended.wait(20)
    assert second.ended.wait(20)
    assert first.status == second.status == 1
    assert "Process 2 of this run" in first.told[0].message
    assert "checkpoint" in str(first.told[0].hint)


def test_a_process_is_missed_only_after_a_silence_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now, counts = [1000.0], {"tunefare/beat/1": 0, "tunefare/beat/2": 0}
    monkeypatch.setattr(alarm, "time", SimpleNamespace(monotonic=lambda: now[0]))
    store = SimpleNamespace(add=lambda key, more: counts[key])
    others = alarm._Others(3)
    for _ in range(5):
        now[0] += alarm.SILENCE_S - 1
        counts["tunefare/beat/1"] += 1
        counts["tunefare/beat/2"] += 2
        assert others.missed(store) is None
    now[0] += alarm.SILENCE_S + 1
    counts["tunefare/beat/1"] += 1
    missed = others.missed(store)
    assert missed is not None
    assert missed.message == "Process 2 of this run has not been heard of for 300 s."


def test_a_process_alone_tells_nobody() -> None:
    assert Alarm(lambda failure: None).first_failure(_FULL) is _FULL
