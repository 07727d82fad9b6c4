"""A stop that is asked for while a launch blocks the process that supervises."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.launch.engine import Handle, Launched, LaunchRequest
from manager.runs.ledger import Ledger
from manager.runs.records import StopRequest
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.mark.parametrize("fails", [None, "reopen", "stop_request"])
def test_a_stop_is_heard_in_a_launch_though_the_ledger_was_away_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    hiccup = threading.Event()
    if fails is None:
        hiccup.set()
    reopen, stop_request = Ledger.reopen, Ledger.stop_request

    def fail_once(call: str) -> None:
        if fails == call and threading.current_thread().name == "stop-requests" and not hiccup.is_set():
            hiccup.set()
            raise StateError("the ledger is locked")

    def reopened(ledger: Ledger) -> Ledger:
        fail_once("reopen")
        return reopen(ledger)

    def asked(ledger: Ledger, run_id: str) -> StopRequest | None:
        fail_once("stop_request")
        return stop_request(ledger, run_id)

    class Launching(PlayedEngine):
        def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
            assert hiccup.wait(10)
            with Ledger.open(tmp_path / "ledger.db") as other:
                other.request_stop(RUN, time.time(), "tunefare stop")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                time.sleep(0.05)
            raise AssertionError("nobody heard the request")

    monkeypatch.setattr(Ledger, "reopen", reopened)
    monkeypatch.setattr(Ledger, "stop_request", asked)
    engine = Launching()
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        outcome = supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
    assert outcome.record.state is RunState.STOPPED
    assert engine.calls[-2:] == ["down", "evidence"]
