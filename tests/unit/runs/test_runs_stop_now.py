"""An end at once: no checkpoint, no grace, and the same evidence as after any other end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import ExitCode
from manager.launch.engine import Handle
from manager.runs.ledger import Ledger
from manager.runs.session import SuperviseSettings
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from tests.unit.runs.client_stage import RUN, Home, check_complete
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST

AGES = 10_000


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = Home(tmp_path)
    yield opened
    opened.close()


def states(home: Home) -> list[RunState]:
    return [change.state for change in home.ledger.run(RUN).history]


def test_a_living_client_kills_the_task_and_takes_the_machine_down(home: Home) -> None:
    client = home.start(steps=AGES, step_s=0.05, trick="ignore_term")
    home.wait_for_events(3)
    record = home.stop(now=True)
    assert record.state is RunState.STOPPED
    assert client.wait(timeout=30) == ExitCode.INTERRUPTED
    # It was never asked to save anything.
    assert RunState.STOPPING not in states(home)
    assert record.history[-2].detail == "stop now requested: tunefare stop"
    check_complete(home)


def test_a_stop_in_good_order_is_cut_short(home: Home) -> None:
    client = home.start(steps=AGES, step_s=0.05, trick="ignore_term")
    home.wait_for_events(3)
    home.ledger.request_stop(RUN, time.time(), "first thought")
    home.wait(lambda: home.ledger.state(RUN) is RunState.STOPPING)
    asked_at = time.monotonic()
    record = home.stop(now=True)
    # The grace of a stop in good order is five seconds, and ten more for the task to vanish.
    assert time.monotonic() - asked_at < FAST.cancel_grace_s
    assert client.wait(timeout=30) == ExitCode.INTERRUPTED
    assert record.history[-2].detail == "stop now requested: tunefare stop"
    check_complete(home)


def test_a_run_without_a_client_is_ended_here(home: Home) -> None:
    client = home.start(steps=AGES, step_s=0.05, trick="ignore_term")
    home.wait_for_events(3)
    home.kill(client)
    assert home.stop(now=True).state is RunState.STOPPED
    assert RunState.STOPPING not in states(home)
    check_complete(home)


def test_results_that_do_not_come_are_left_behind(tmp_path: Path) -> None:
    """Asked for in the middle of a fetch that has ten minutes."""

    class SlowToFetch(PlayedEngine):
        def fetch(self, _handle: Handle) -> None:
            self._call("fetch")
            with Ledger.open(tmp_path / "ledger.db") as other:
                other.request_stop(RUN, time.time(), "panic", now=True)
            time.sleep(30)

    engine = SlowToFetch()
    patient = replace(SuperviseSettings(), poll_s=0.05, stop_poll_s=0.05, evidence_backoff_s=0.01)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        started_at = time.monotonic()
        outcome = supervise(order(tmp_path / RUN, run_id=RUN), engine, ledger, time.time, lambda _: None, patient)
    assert time.monotonic() - started_at < 20
    assert engine.calls[-2:] == ["down", "evidence"]
    assert outcome.record.evidence[-1].confirmed


def test_the_most_urgent_request_counts(home: Home) -> None:
    home.start(steps=AGES, step_s=0.05)
    home.wait_for_events(1)
    home.ledger.request_stop(RUN, 1.0, "calmly")
    home.ledger.request_stop(RUN, 2.0, "now", now=True)
    request = home.ledger.stop_request(RUN)
    assert request is not None
    assert (request.detail, request.now) == ("now", True)
