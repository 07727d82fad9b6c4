"""A machine that may still be billed is told of, whatever else went wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, ExitCode, StateError, TeardownUnconfirmedError
from manager.launch.engine import Handle, MachineState
from manager.runs.ledger import Ledger
from manager.runs.reconcile import ReconcileAction, reconcile
from manager.runs.states import RunState
from manager.runs.supervise import SuperviseSettings, supervise
from manager.runs.updates import EventUpdate, EvidenceUpdate, LogUpdate, Update
from tasks.protocol import EVENTS_FILE, Event
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


class Hanging(PlayedEngine):
    """Its machine hangs in the copy of the results for `hang_s` seconds."""

    hang_s = 20.0

    def __init__(self, **fail: BaseException) -> None:
        super().__init__(**fail)
        self.fetching = threading.Event()
        self.released = threading.Event()
        self.returned = threading.Event()

    def fetch(self, handle: Handle) -> None:
        super().fetch(handle)
        self.fetching.set()
        self.released.wait(self.hang_s)
        self.returned.set()


def unconfirming() -> PlayedEngine:
    engine = PlayedEngine(down=EngineError("denied"))
    engine.confirm_after = 99
    return engine


def test_a_broken_listener_does_not_hide_a_machine_that_is_left(ledger: Ledger, tmp_path: Path) -> None:
    def closed(update: Update) -> None:
        if isinstance(update, EventUpdate):
            raise BrokenPipeError

    with pytest.raises(TeardownUnconfirmedError, match="MAY STILL BE BILLED") as caught:
        supervise(order(tmp_path / "run"), unconfirming(), ledger, time.time, closed, FAST)
    assert caught.value.exit_code is ExitCode.TEARDOWN_UNCONFIRMED
    assert isinstance(caught.value.__cause__, BrokenPipeError)
    assert ledger.state(RUN) is RunState.UNCONFIRMED


def test_a_full_ledger_does_not_hide_a_machine_that_is_left(ledger: Ledger, tmp_path: Path) -> None:
    told: list[Update] = []

    def fill(update: Update) -> None:
        told.append(update)
        if isinstance(update, EventUpdate):
            ledger._db.execute("PRAGMA query_only = ON")

    with pytest.raises(TeardownUnconfirmedError, match="MAY STILL BE BILLED") as caught:
        supervise(order(tmp_path / "run"), unconfirming(), ledger, time.time, fill, FAST)
    assert isinstance(caught.value.__cause__, StateError)
    answers = [update.evidence.confirmed for update in told if isinstance(update, EvidenceUpdate)]
    assert answers == [False] * FAST.evidence_attempts


def test_an_adopted_run_that_is_left_is_told_of(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(down=EngineError("denied"), stream=RuntimeError("a bug"))
    engine.confirm_after = 99
    engine.machine = MachineState.RUNNING
    run = order(tmp_path / "run")
    launched = engine.submit(run.request, engine.reserve(run.request))
    ledger.create_run(RUN, run.plan, run.request.run_dir, engine.name, None, time.time())
    ledger.transition(RUN, RunState.LAUNCHING, time.time())
    ledger.store_launched(RUN, launched, time.time())
    ledger.transition(RUN, RunState.RUNNING, time.time())

    def closed(update: Update) -> None:
        if isinstance(update, EventUpdate):
            raise BrokenPipeError

    (result,) = reconcile(ledger, {engine.name: engine}, time.time, closed, settings=FAST)
    assert result.action is ReconcileAction.FAILED
    assert isinstance(result.error, TeardownUnconfirmedError)


@pytest.mark.parametrize(
    ("orders", "settings"),
    [
        ({}, replace(FAST, fetch_limit_s=0.5)),
        # PlayedEngine is billed since an hour.
        ({"cap_usd": Decimal("0.01")}, replace(FAST, fetch_limit_short_s=0.5)),
        ({"max_duration_s": 60.0}, replace(FAST, fetch_limit_short_s=0.5)),
    ],
)
def test_a_machine_that_hangs_in_the_fetch_is_taken_down(
    ledger: Ledger, tmp_path: Path, orders: dict[str, Any], settings: SuperviseSettings
) -> None:
    class Slow(Hanging):
        def stream(self, _handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
            yield from super().stream(_handle, after_seq=after_seq)
            self.ended.wait(2.0 if orders else 0.0)

        def cancel(self, _handle: Handle, *, grace_s: float) -> None:
            self.ended.set()

        ended = threading.Event()

    engine, told = Slow(), list[Update]()
    run = order(tmp_path / "run", **orders)
    outcome = supervise(run, engine, ledger, time.time, told.append, settings)
    assert not engine.returned.is_set()
    engine.released.set()
    assert engine.calls[-2:] == ["down", "evidence"]
    assert outcome.record.evidence[-1].confirmed
    assert any("not everything could be fetched" in item.text for item in told if isinstance(item, LogUpdate))


def test_a_signal_abandons_a_fetch_that_hangs(ledger: Ledger, tmp_path: Path) -> None:
    engine = Hanging()

    def interrupt() -> None:
        assert engine.fetching.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
    assert not engine.returned.is_set()
    engine.released.set()
    thread.join()
    assert engine.calls[-2:] == ["down", "evidence"]
    assert outcome.record.state is RunState.FAILED


@pytest.mark.parametrize("torn", ["", '{"seq": 3, "ti'])
def test_what_a_task_writes_between_the_fetch_and_its_death_is_stored(
    ledger: Ledger, tmp_path: Path, torn: str
) -> None:
    run_dir = tmp_path / "run"

    class Writing(PlayedEngine):
        def down(self, handle: Handle) -> None:
            super().down(handle)
            run_dir.mkdir(exist_ok=True)
            lines = [event(seq).to_line() for seq in range(3)]
            (run_dir / EVENTS_FILE).write_text("".join(f"{line}\n" for line in lines) + torn)

    supervise(order(run_dir), Writing(), ledger, time.time, lambda _: None, FAST)
    assert [item.seq for item in ledger.events(RUN)] == [0, 1, 2]


@pytest.mark.parametrize(("machine", "expected_s"), [(MachineState.GONE, 3000), (MachineState.FAILED, 3600)])
def test_a_machine_that_is_gone_is_billed_to_its_last_sign_of_life(
    ledger: Ledger, tmp_path: Path, machine: MachineState, expected_s: float
) -> None:
    engine = PlayedEngine()
    engine.machine = machine
    engine.items = [event(0), replace(event(1), time_s=time.time() - 600)]
    outcome = supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
    record = outcome.record
    assert record.billing_started_at_s is not None
    billed_s = max(charge.to_s for charge in record.charges) - record.billing_started_at_s
    assert billed_s == pytest.approx(expected_s, abs=30)


def test_a_task_that_an_error_leaves_at_work_is_ended_before_its_results_are_fetched(
    ledger: Ledger, tmp_path: Path
) -> None:
    engine = PlayedEngine()
    engine.machine = MachineState.RUNNING

    def broken(update: Update) -> None:
        if isinstance(update, EventUpdate):
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        supervise(order(tmp_path / "run"), engine, ledger, time.time, broken, FAST)
    assert [call for call in engine.calls if call in ("cancel", "fetch", "down")] == ["cancel", "fetch", "down"]
