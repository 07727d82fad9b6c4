"""Runs that `reconcile` and `stop` could not bring to an end: none is passed over in silence."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import EngineError, ExitCode, InternalError, InterruptedRunError
from manager.launch.engine import Handle, Launched, LaunchRequest, MachineState
from manager.launch.local_runner import EXIT_FILE
from manager.runs.clients import this_client
from manager.runs.ledger import Ledger
from manager.runs.reconcile import ReconcileAction, reconcile, stop
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from tasks.protocol import Event
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST, fast_engine

RUN = "job-20260101-aaaa"
OTHER = "job-20260101-bbbb"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


class Endless(PlayedEngine):
    """Its task runs until it is told to end, 10 s at most."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield from super().stream(handle, after_seq=after_seq)
        self.ended.wait(10.0)

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        super().cancel(handle, grace_s=grace_s)
        self.ended.set()


def running(ledger: Ledger, engine: PlayedEngine, folder: Path, run_id: str = RUN) -> None:
    """A run in state RUNNING that no client supervises."""
    run = order(folder / run_id, run_id=run_id)
    ledger.create_run(run_id, run.plan, run.request.run_dir, engine.name, None, time.time())
    ledger.transition(run_id, RunState.LAUNCHING, time.time())
    ledger.store_launched(run_id, engine.submit(run.request, engine.reserve(run.request)), time.time())
    ledger.transition(run_id, RunState.RUNNING, time.time())


def test_a_run_whose_provider_is_silent_is_reported(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(status=EngineError("no route to the provider"))
    running(ledger, engine, tmp_path)
    (result,) = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert result.action is ReconcileAction.UNREACHABLE
    assert isinstance(result.error, EngineError)
    assert "no route to the provider" in result.error.message
    assert result.error.hint is not None
    assert RUN in result.error.hint


def test_runs_that_an_interrupt_left_out_are_reported(ledger: Ledger, tmp_path: Path) -> None:
    class Interrupting(PlayedEngine):
        def status(self, handle: Handle) -> MachineState:
            os.kill(os.getpid(), signal.SIGINT)
            return super().status(handle)

    engine = Interrupting()
    for run_id in (RUN, OTHER):
        running(ledger, engine, tmp_path, run_id)
    first, second = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert (first.run_id, first.action, first.error) == (RUN, ReconcileAction.CLOSED, None)
    assert (second.run_id, second.action, second.outcome) == (OTHER, ReconcileAction.LEFT_ALONE, None)
    assert isinstance(second.error, InterruptedRunError)
    assert OTHER in second.error.message
    assert ledger.state(OTHER) is RunState.RUNNING


def test_stop_waits_for_a_client_that_tears_down(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine()
    running(ledger, engine, tmp_path)
    client = this_client(time.time())
    assert ledger.claim(RUN, client, instead_of=ledger.client(RUN))

    def supervise_slowly() -> None:
        with ledger.reopen() as own:
            for state in (RunState.STOPPING, RunState.TEARING_DOWN):
                time.sleep(0.5)
                own.transition(RUN, state, time.time())
            time.sleep(2.0)
            own.transition(RUN, RunState.STOPPED, time.time())

    thread = threading.Thread(target=supervise_slowly)
    thread.start()
    # Each step comes within a second, all of them do not.
    record = stop(RUN, ledger, {engine.name: engine}, time.time, lambda _: None, wait_s=1.0, settings=FAST)
    thread.join()
    assert record.state is RunState.STOPPED


def test_stop_does_not_wait_for_a_client_that_does_nothing(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine()
    running(ledger, engine, tmp_path)
    assert ledger.claim(RUN, this_client(time.time()), instead_of=ledger.client(RUN))
    record = stop(RUN, ledger, {engine.name: engine}, time.time, lambda _: None, wait_s=0.5, settings=FAST)
    assert record.state is RunState.RUNNING


def test_an_adopted_run_keeps_the_limit_of_its_launch(ledger: Ledger, tmp_path: Path) -> None:
    """The limit may be tighter than the deadline of the run file, and there may be no deadline at all."""
    engine = Endless()
    other = order(tmp_path / OTHER, run_id=OTHER)
    assert other.plan.spec.budget.deadline_hours is None
    handle = replace(engine.reserve(other.request), details={"max_duration_s": 60.0})
    launched = engine.submit(other.request, handle)
    ledger.create_run(OTHER, other.plan, other.request.run_dir, engine.name, None, time.time())
    ledger.transition(OTHER, RunState.LAUNCHING, time.time())
    ledger.store_launched(OTHER, launched, time.time())
    ledger.transition(OTHER, RunState.RUNNING, time.time())
    engine.machine = MachineState.RUNNING
    (result,) = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert result.outcome is not None
    assert result.outcome.exit_code is ExitCode.OVER_BUDGET
    details = [change.detail for change in result.outcome.record.history if change.state is RunState.STOPPING]
    assert details == ["longest duration reached: it may take 1.0 min"]


@pytest.mark.parametrize("engine_details", [{}, {"pid": 7}])
def test_the_limit_is_stored_before_and_after_the_launch(
    ledger: Ledger, tmp_path: Path, engine_details: dict[str, int]
) -> None:
    seen: list[Handle | None] = []

    class Looking(PlayedEngine):
        def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
            seen.append(ledger.run(RUN).handle)
            return super().submit(request, replace(handle, details=engine_details))

    outcome = supervise(
        order(tmp_path / RUN, max_duration_s=7200.0), Looking(), ledger, time.time, lambda _: None, FAST
    )
    (before,) = seen
    assert before is not None
    limits = {"home_guard": True, "max_duration_s": 7200.0}
    assert before.details == limits
    assert outcome.record.handle is not None
    assert outcome.record.handle.details == {**engine_details, **limits}


@pytest.mark.parametrize(("ago_s", "most_s"), [(20.0, 20.0), (36_000.0, 200.0)])
def test_a_machine_that_was_being_taken_down_is_billed_for_as_long_as_that_takes(
    tmp_path: Path, ago_s: float, most_s: float
) -> None:
    """The client died after the order; nobody tells when the machine went, and days later it was gone long before."""
    begun_s = time.time() - ago_s
    engine = PlayedEngine()
    engine.machine = MachineState.GONE
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        made = order(tmp_path / "run")
        ledger.create_run(RUN, made.plan, made.request.run_dir, engine.name, None, begun_s - 100)
        handle = engine.reserve(made.request)
        ledger.store_handle(RUN, handle, begun_s - 100)
        ledger.transition(RUN, RunState.LAUNCHING, begun_s - 100)
        launched = Launched(
            handle=handle, offer=made.request.offers[0], billing_started_at_s=begun_s - 90, failed_attempts=()
        )
        ledger.store_launched(RUN, launched, begun_s - 60)
        ledger.transition(RUN, RunState.RUNNING, begun_s - 50)
        ledger.transition(RUN, RunState.TEARING_DOWN, begun_s)
        reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
        ended_s = ledger.run(RUN).billing_ended_at_s
    assert ended_s is not None
    assert begun_s < ended_s <= begun_s + most_s + 10


def test_a_run_with_a_damaged_file_is_closed_and_so_are_the_others(ledger: Ledger, tmp_path: Path) -> None:
    for run_id in (RUN, OTHER):
        made = order(tmp_path / run_id, run_id=run_id)
        made.request.run_dir.mkdir()
        handle = replace(fast_engine().reserve(made.request), details={"pid": 2**30, "created_at_s": 1.0})
        launched = Launched(
            handle=handle, offer=made.request.offers[0], billing_started_at_s=time.time(), failed_attempts=()
        )
        ledger.create_run(run_id, made.plan, made.request.run_dir, "local", None, time.time())
        ledger.transition(run_id, RunState.LAUNCHING, time.time())
        ledger.store_launched(run_id, launched, time.time())
        ledger.transition(run_id, RunState.RUNNING, time.time())
    (tmp_path / RUN / EXIT_FILE).write_text("")
    results = reconcile(ledger, {"local": fast_engine()}, time.time, lambda _: None, settings=FAST)
    assert [(one.run_id, one.action, one.error) for one in results] == [
        (RUN, ReconcileAction.CLOSED, None),
        (OTHER, ReconcileAction.CLOSED, None),
    ]
    assert [ledger.state(run_id) for run_id in (RUN, OTHER)] == [RunState.INTERRUPTED] * 2


def test_what_nobody_foresaw_in_one_run_keeps_no_other_from_its_end(ledger: Ledger, tmp_path: Path) -> None:
    class Broken(PlayedEngine):
        def status(self, handle: Handle) -> MachineState:
            if handle.name == RUN:
                raise ZeroDivisionError("a defect")
            return super().status(handle)

    engine = Broken()
    for run_id in (RUN, OTHER):
        running(ledger, engine, tmp_path, run_id)
    first, second = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert (first.run_id, first.action, first.outcome) == (RUN, ReconcileAction.FAILED, None)
    assert isinstance(first.error, InternalError)
    assert isinstance(first.error.__cause__, ZeroDivisionError)
    assert first.error.exit_code is not ExitCode.DONE
    assert f"{RUN} could not be brought to its end and may still be billed" in first.error.message
    assert "ZeroDivisionError: a defect (test_runs_left_open.py, line " in first.error.message
    assert (second.run_id, second.action, second.error) == (OTHER, ReconcileAction.CLOSED, None)
    assert ledger.state(RUN) is RunState.RUNNING
    (again,) = reconcile(ledger, {engine.name: PlayedEngine()}, time.time, lambda _: None, settings=FAST)
    assert (again.run_id, again.action) == (RUN, ReconcileAction.CLOSED)


def test_a_run_whose_engine_is_not_at_hand_is_let_go(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine()
    running(ledger, engine, tmp_path)
    (result,) = reconcile(ledger, {}, time.time, lambda _: None, settings=FAST)
    assert result.action is ReconcileAction.FAILED
    # In the same process, which lives: else it would be left alone as one that it supervises.
    (result,) = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert result.action is ReconcileAction.CLOSED
