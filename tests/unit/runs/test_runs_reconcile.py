"""Clients that die, are interrupted or asked to stop: events complete, charges whole, no process left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import ExitCode
from manager.launch.engine import Evidence, Handle
from manager.launch.local import LocalEngine
from manager.launch.local_process import read_end_s
from manager.runs.reconcile import ReconcileAction, Reconciled, reconcile
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from manager.runs.updates import EventUpdate
from tests.unit.runs.client_stage import RUN, Home, check_complete
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = Home(tmp_path)
    yield opened
    opened.close()


def test_a_run_whose_client_was_killed_is_adopted(home: Home) -> None:
    client = home.start(steps=60, step_s=0.05)
    home.wait_for_events(5)
    home.kill(client)
    stored = len(home.ledger.events(RUN))
    (result,) = home.reconcile()
    assert result.action is ReconcileAction.ADOPTED
    assert result.outcome is not None
    assert result.outcome.exit_code is ExitCode.DONE
    assert result.outcome.record.state is RunState.SUCCEEDED
    check_complete(home, 62)
    told = [update.event.seq for update in home.updates if isinstance(update, EventUpdate)]
    assert told == list(range(stored, 62))
    assert home.reconcile() == ()


def test_a_run_whose_client_was_killed_can_be_ended(home: Home) -> None:
    client = home.start(steps=10_000, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    (result,) = home.reconcile(end=True)
    assert result.action is ReconcileAction.ENDED
    assert result.outcome is not None
    assert result.outcome.record.state is RunState.INTERRUPTED
    check_complete(home)
    assert home.ledger.events(RUN)[-1].data["outcome"] == "stopped"


def test_a_task_that_ended_without_its_client_is_closed(home: Home) -> None:
    client = home.start(steps=20, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    home.wait(lambda: home.processes() == 0)
    time.sleep(0.5)
    (result,) = home.reconcile()
    assert result.action is ReconcileAction.CLOSED
    assert result.outcome is not None
    assert result.outcome.record.state is RunState.SUCCEEDED
    check_complete(home, 22)
    # The time up to the end of the process is billed, the half second after it is not.
    ended_at_s = read_end_s(home.run_dir())
    assert ended_at_s is not None
    assert result.outcome.record.billing_ended_at_s == ended_at_s >= home.ledger.events(RUN)[-1].time_s


def test_a_client_killed_in_the_launch_leaves_nothing(home: Home) -> None:
    """Between the start of the process and the handle in the ledger: LAUNCHING, and a task that runs."""

    run = order(home.run_dir(), steps=10_000)
    engine = home.engine
    handle = engine.reserve(run.request)
    home.ledger.create_run(RUN, run.plan, home.run_dir(), "local", None, time.time())
    home.ledger.store_handle(RUN, handle, time.time())
    home.ledger.transition(RUN, RunState.LAUNCHING, time.time())
    engine.submit(run.request, handle)
    assert home.processes() > 0
    (result,) = home.reconcile()
    assert result.action is ReconcileAction.CLOSED
    record = home.ledger.run(RUN)
    assert record.state is RunState.INTERRUPTED
    assert home.processes() == 0
    assert [item.what for item in record.charges] == ["launch attempt"]
    assert record.cost_usd is not None
    assert record.cost_usd > 0


def test_a_client_killed_before_the_launch(home: Home) -> None:
    home.ledger.create_run(RUN, order(home.run_dir()).plan, home.run_dir(), "local", None, time.time())
    (result,) = home.reconcile()
    assert result.action is ReconcileAction.NEVER_LAUNCHED
    assert home.ledger.state(RUN) is RunState.INTERRUPTED


def test_a_living_client_is_left_alone(home: Home) -> None:
    client = home.start(steps=30, step_s=0.05)
    home.wait_for_events(3)
    (result,) = home.reconcile(end=True)
    assert result.action is ReconcileAction.LEFT_ALONE
    assert client.wait(timeout=30) == 0
    check_complete(home, 32)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_good_order(home: Home, signum: signal.Signals) -> None:
    client = home.start(steps=10_000, step_s=0.05)
    home.wait_for_events(3)
    client.send_signal(signum)
    assert client.wait(timeout=30) == ExitCode.INTERRUPTED
    assert home.ledger.run(RUN).state is RunState.INTERRUPTED
    assert home.ledger.events(RUN)[-1].data["outcome"] == "stopped"
    check_complete(home)


def test_a_second_signal_does_not_wait_and_skips_nothing(home: Home) -> None:
    client = home.start(steps=10_000, step_s=0.05, trick="ignore_term")
    home.wait_for_events(3)
    client.send_signal(signal.SIGINT)
    home.wait(lambda: home.ledger.state(RUN) is RunState.STOPPING)
    for _ in range(4):
        client.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert client.wait(timeout=30) == ExitCode.INTERRUPTED
    assert home.ledger.run(RUN).state is RunState.INTERRUPTED
    check_complete(home)


def test_stop_asks_the_client(home: Home) -> None:
    client = home.start(steps=10_000, step_s=0.05)
    home.wait_for_events(3)
    record = home.stop()
    assert record.state is RunState.STOPPED
    assert client.wait(timeout=30) == ExitCode.INTERRUPTED
    check_complete(home)
    assert home.stop() == home.ledger.run(RUN)


def test_stop_ends_a_run_without_a_client(home: Home) -> None:
    client = home.start(steps=10_000, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    assert home.stop().state is RunState.STOPPED
    check_complete(home)


def test_an_unconfirmed_run_is_asked_again(home: Home) -> None:
    class Silent(LocalEngine):
        def evidence(self, handle: Handle) -> Evidence:
            return replace(super().evidence(handle), confirmed=False, answer="no answer")

    run = order(home.run_dir())
    silent = Silent(task_module="fake_task", env=home.engine._env)
    outcome = supervise(run, silent, home.ledger, time.time, home.updates.append, FAST)
    assert outcome.record.state is RunState.UNCONFIRMED
    billed = outcome.record.charges
    (result,) = home.reconcile()
    assert result.action is ReconcileAction.CLOSED
    assert result.outcome is not None
    assert result.outcome.record.state is RunState.SUCCEEDED
    # Nothing was ever seen left, so the time until now is not billed.
    assert result.outcome.record.charges == billed
    check_complete(home, 7)


def test_a_client_killed_while_stopping_is_finished_for_the_same_reason(home: Home) -> None:
    client = home.start(steps=10_000, step_s=0.05, trick="ignore_term")
    home.wait_for_events(3)
    client.send_signal(signal.SIGINT)
    home.wait(lambda: home.ledger.state(RUN) is RunState.STOPPING)
    home.kill(client)
    home.reconcile()
    assert home.ledger.state(RUN) is RunState.INTERRUPTED
    check_complete(home)


def test_two_runs_at_once(home: Home) -> None:
    other = "job-20260101-bbbb"
    clients = [home.start(RUN, steps=25), home.start(other, steps=25)]
    assert [client.wait(timeout=60) for client in clients] == [0, 0]
    for run_id in (RUN, other):
        assert home.ledger.run(run_id).state is RunState.SUCCEEDED
        assert [event.seq for event in home.ledger.events(run_id)] == list(range(27))
    check_complete(home, 27)


def test_two_reconciliations_do_not_meet(home: Home) -> None:
    client = home.start(steps=40, step_s=0.05)
    home.wait_for_events(3)
    home.kill(client)
    others: list[tuple[Reconciled, ...]] = []

    def beside() -> None:
        with home.ledger.reopen() as ledger:
            others.append(reconcile(ledger, {"local": home.engine}, time.time, lambda _: None, settings=FAST))

    thread = threading.Thread(target=beside)
    thread.start()
    mine = home.reconcile()
    thread.join()
    actions = sorted(result.action for result in (*mine, *others[0]))
    assert ReconcileAction.ADOPTED in actions
    assert actions.count(ReconcileAction.ADOPTED) == 1
    check_complete(home, 42)
