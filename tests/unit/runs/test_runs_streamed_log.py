"""The log of a run on another machine can be read while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.launch.engine import Handle, MachineState
from manager.runs.ledger import Ledger
from manager.runs.reconcile import reconcile
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from manager.runs.updates import LogUpdate, Update
from tasks.protocol import Event
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


class Talking(PlayedEngine):
    """Looks into the log's file while its stream is still open."""

    def __init__(self, **fail: BaseException) -> None:
        super().__init__(**fail)
        self.seen_while_open = ""

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield from ("first line", event(0), "zweite Zeile ü")
        file = Path(handle.run_dir) / "log.txt"
        deadline = time.monotonic() + 5
        while "zweite" not in self.seen_while_open and time.monotonic() < deadline:
            time.sleep(0.05)
            self.seen_while_open = file.read_text(encoding="utf-8") if file.exists() else ""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def test_streamed_lines_are_in_the_log_at_once(ledger: Ledger, tmp_path: Path) -> None:
    engine = Talking()
    supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
    assert engine.seen_while_open == "first line\nzweite Zeile ü\n"


def test_the_lines_that_an_adopted_run_streams_again_are_not_doubled(ledger: Ledger, tmp_path: Path) -> None:
    engine = Talking()
    run = order(tmp_path / "run")
    handle = engine.reserve(run.request)
    ledger.create_run(RUN, run.plan, run.request.run_dir, engine.name, None, time.time())
    ledger.transition(RUN, RunState.LAUNCHING, time.time())
    ledger.store_launched(RUN, engine.submit(run.request, handle), time.time())
    ledger.transition(RUN, RunState.RUNNING, time.time())
    run.request.run_dir.mkdir()
    (run.request.run_dir / "log.txt").write_text("first line\n")
    engine.machine = MachineState.RUNNING
    reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert engine.seen_while_open == "first line\nzweite Zeile ü\n"


def test_a_local_task_writes_its_log_itself(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine()
    engine.name = "local"
    supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
    assert not (tmp_path / "run" / "log.txt").exists()


def test_a_log_that_cannot_be_written_ends_no_run(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "run" / "log.txt").mkdir(parents=True)
    told: list[Update] = []
    engine = PlayedEngine()
    supervise(order(tmp_path / "run"), engine, ledger, time.time, told.append, FAST)
    assert [item.seq for item in ledger.events(RUN)] == [0, 1]
    notes = [item.text for item in told if isinstance(item, LogUpdate) and item.source == "manager"]
    assert len(notes) == 1
    assert "log.txt" in notes[0]
