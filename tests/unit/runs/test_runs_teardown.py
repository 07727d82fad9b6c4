"""A machine that may still be billed is told of, whatever else went wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.errors import EngineError, ExitCode, StateError, TeardownUnconfirmedError
from manager.launch.engine import Handle, MachineState
from manager.runs.ledger import Ledger
from manager.runs.reconcile import ReconcileAction, reconcile
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from manager.runs.updates import EventUpdate, EvidenceUpdate, Update
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


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
    class Running(PlayedEngine):
        def status(self, handle: Handle) -> MachineState:
            super().status(handle)
            return MachineState.RUNNING

    engine = Running(down=EngineError("denied"), stream=RuntimeError("a bug"))
    engine.confirm_after = 99
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
