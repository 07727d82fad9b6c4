"""A run that is followed from the ledger: what its supervisor told, told again, with the same end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, ExitCode, NothingFitsError, TeardownUnconfirmedError
from manager.launch.engine import MachineState
from manager.runs.clients import this_client
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.runs.supervise import RunOutcome, supervise
from manager.runs.updates import Update, update_to_json
from manager.service import attaching
from manager.service.attaching import follow_run
from manager.service.context import Context
from tasks.protocol import Event, EventType
from tests.support.contexts import make_context
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    outcome: RunOutcome
    told: list[Update]


@pytest.fixture
def supervised(context: Context) -> Callable[..., Supervised]:
    def run(engine: PlayedEngine, **orders: Any) -> Supervised:
        told: list[Update] = []
        with Ledger.open(context.home.ledger_file) as ledger:
            run_order = order(context.home.runs_dir / RUN, run_id=RUN, **orders)
            outcome = supervise(run_order, engine, ledger, time.time, told.append, FAST)
        return Supervised(outcome=outcome, told=told)

    return run


def follow(context: Context) -> tuple[attaching.Followed, list[Update]]:
    told: list[Update] = []
    return follow_run(context, RUN[:8], on_update=told.append), told


def lines(updates: list[Update], kind: str) -> list[str]:
    """Those of one kind as `--json` prints them, but for dollars, which are those of the moment."""
    found = [line for line in map(update_to_json, updates) if line["type"] == kind]
    return [json.dumps({k: v for k, v in line.items() if k not in ("cost_usd", "projected_usd")}) for line in found]


def finished(outcome: str) -> Event:
    facts = {"outcome": outcome, "steps": 5, "best": None, "training_s": 1.0, "total_s": 1.0}
    return event(2, EventType.FINISHED, **facts, peak_memory_bytes=None, output="model")


def test_all_that_the_ledger_has_is_told_again(context: Context, supervised: Callable[..., Supervised]) -> None:
    engine = PlayedEngine()
    engine.items = [
        event(0, EventType.TRAIN, step=1, epoch=0.1, loss=1.0, elapsed_s=2.0),
        event(1, EventType.TRAIN, step=2, epoch=0.2, loss=0.5, elapsed_s=4.0),
        finished("completed"),
    ]
    live = supervised(engine)
    followed, told = follow(context)
    for kind in ("state", "metric", "event", "charge", "evidence"):
        assert lines(told, kind) == lines(live.told, kind) != []
    assert (followed.exit_code, followed.error) == (ExitCode.DONE, None)
    assert followed.record.state is RunState.SUCCEEDED
    charge = [line for line in map(update_to_json, told) if line["type"] == "charge"][-1]
    assert Decimal(str(charge["cost_usd"])) == followed.record.cost_usd


def _stopped() -> PlayedEngine:
    engine = PlayedEngine()
    engine.items = [event(0), event(1), finished("stopped")]
    return engine


def _failed() -> PlayedEngine:
    engine = PlayedEngine()
    engine.items = [event(0), event(1, EventType.FAILED, code="oom", message="out of memory", hint="halve the batch")]
    return engine


def _set_up_failed() -> PlayedEngine:
    engine = PlayedEngine()
    engine.machine = MachineState.SETUP_FAILED
    return engine


@pytest.mark.parametrize(
    ("engine", "orders"),
    [
        (_stopped(), {}),
        (_failed(), {}),
        (_set_up_failed(), {}),
        (PlayedEngine(), {}),
        (PlayedEngine(submit=NothingFitsError("no offer had capacity", hint="later")), {}),
        (PlayedEngine(submit=EngineError("quota", hint="ask for more")), {}),
        (PlayedEngine(), {"cap_usd": Decimal("0.01")}),
        (PlayedEngine(submit=KeyboardInterrupt()), {}),
    ],
)
def test_the_end_is_that_of_the_supervisor(
    context: Context, supervised: Callable[..., Supervised], engine: PlayedEngine, orders: dict[str, Any]
) -> None:
    live = supervised(engine, **orders)
    followed, _ = follow(context)
    assert live.outcome.error is not None
    assert followed.error is not None
    assert followed.exit_code == live.outcome.exit_code
    assert (type(followed.error), followed.error.message) == (type(live.outcome.error), live.outcome.error.message)


def test_a_run_nobody_looks_after_is_an_alarm(context: Context) -> None:
    with Ledger.open(context.home.ledger_file) as ledger:
        run = order(context.home.runs_dir / RUN, run_id=RUN)
        ledger.create_run(RUN, run.plan, run.request.run_dir, "played", None, 1.0)
        ledger.transition(RUN, RunState.LAUNCHING, 2.0)
    followed, told = follow(context)
    assert isinstance(followed.error, TeardownUnconfirmedError)
    assert "launching and no process supervises it" in followed.error.message
    assert len(lines(told, "state")) == 2


def test_an_unconfirmed_end_is_an_alarm(context: Context, supervised: Callable[..., Supervised]) -> None:
    engine = PlayedEngine()
    engine.confirm_after = 1000
    supervised(engine)
    followed, _ = follow(context)
    assert followed.exit_code is ExitCode.TEARDOWN_UNCONFIRMED


def test_it_waits_for_a_living_client(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client writes on while nobody looks: what it writes is told at the next look."""
    file = context.home.ledger_file
    run = order(context.home.runs_dir / RUN, run_id=RUN)
    with Ledger.open(file) as ledger:
        ledger.create_run(RUN, run.plan, run.request.run_dir, "played", None, 1.0, this_client(time.time()))

    def sleep(_seconds: float) -> None:
        with Ledger.open(file) as ledger:
            ledger.transition(RUN, RunState.INTERRUPTED, 3.0, "interrupted before the launch")

    monkeypatch.setattr("manager.service.attaching.time.sleep", sleep)
    followed, told = follow(context)
    assert [json.loads(line)["state"] for line in lines(told, "state")] == ["planned", "interrupted"]
    assert followed.exit_code is ExitCode.INTERRUPTED


def test_many_events_come_in_the_order_of_their_times(
    context: Context, supervised: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "MOST_EVENTS", 3)
    engine = PlayedEngine()
    now_s = time.time()
    engine.items = [
        *(
            Event(seq=seq, time_s=now_s, type=EventType.WARNING, data={"code": "c", "message": "m"})
            for seq in range(10)
        ),
    ]
    supervised(engine)
    _, told = follow(context)
    kinds = [line.get("state", line["type"]) for line in map(update_to_json, told)]
    assert kinds.index("tearing_down") > max(place for place, kind in enumerate(kinds) if kind == "event")
    assert kinds.count("event") == 10
