"""What a running job says, and that nobody who listens slowly or not at all holds it up."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from decimal import Decimal

import pytest

from manager.cli.live_view import LiveView
from manager.errors import InterruptedRunError
from manager.runs.records import StateChange
from manager.runs.states import RunState
from manager.runs.updates import EventUpdate, StateUpdate
from manager.units import MoneyInterval
from tasks.protocol import Event, EventType


def train_update(step: int) -> EventUpdate:
    data = {"step": step, "loss": 0.5, "tokens_per_s": 1234.4}
    projected = MoneyInterval(low=Decimal(1), expected=Decimal(2), high=Decimal(3))
    event = Event(seq=step, time_s=1.0, type=EventType.TRAIN, data=data)
    return EventUpdate(run_id="r", event=event, cost_usd=Decimal("0.5"), projected_usd=projected)


def state_update() -> StateUpdate:
    change = StateChange(state=RunState.RUNNING, at_s=1.0, detail="aws/us-east-1")
    return StateUpdate(run_id="r", change=change)


def test_lines_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView(steps=9, as_json=False, clock=lambda: 0.0) as view:
        view.update(state_update())
        view.update(train_update(1))
    assert capsys.readouterr().err.splitlines() == [
        "run r",
        "[running] aws/us-east-1",
        "  step 1/9  loss 0.5000  1,234 tokens/s  $0.50 so far, $2.00 ($1.00 to $3.00) projected",
    ]


def test_one_step_a_second_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.5, 1.1, 1.2])
    with LiveView(steps=4, as_json=False, clock=lambda: next(now)) as view:
        for step in (1, 2, 3, 4):
            view.update(train_update(step))
    steps = [line.split()[1] for line in capsys.readouterr().err.splitlines() if "step" in line]
    assert steps == ["1/4", "3/4", "4/4"]


def test_json_lines_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView(steps=4, as_json=True) as view:
        for step in range(200):
            view.update(train_update(step))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["seq"] for line in lines] == list(range(200))
    assert lines[0]["type"] == "metric"


def test_a_reader_that_sleeps_does_not_hold_up_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as read_end, os.fdopen(writer, "w") as write_end:
        monkeypatch.setattr(sys, "stdout", write_end)
        with LiveView(steps=None, as_json=True) as view:
            for step in range(2000):  # far more than a pipe holds
                view.update(train_update(step))
            drain = threading.Thread(target=lambda: [read_end.readline() for _ in range(2000)])
            drain.start()
        drain.join(30)
        assert not drain.is_alive()


def test_a_reader_that_has_gone_ends_the_run_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    write_end = os.fdopen(writer, "w", buffering=1)
    monkeypatch.setattr(sys, "stdout", write_end)

    def listen() -> None:
        deadline = time.monotonic() + 20
        with LiveView(steps=None, as_json=True) as view:
            while time.monotonic() < deadline:
                view.update(state_update())
                time.sleep(0.01)

    with pytest.raises(InterruptedRunError, match="reader of the output has gone"):
        listen()
    with pytest.raises(BrokenPipeError):
        write_end.close()
