"""Supervision from reservation to final state: with the local engine, and with an engine that plays bad providers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, ExitCode, InterruptedRunError, NothingFitsError, StateError
from manager.launch.engine import Handle, Launched, LaunchRequest, MachineState
from manager.planner.plan import CostLine
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.runs.supervise import RunOutcome, supervise
from manager.runs.updates import EventUpdate, Update, update_to_json
from manager.units import Interval, MoneyInterval
from tests.support.postgres_stage import KEEPERS, ledger_opener
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import PRICE, event, order
from tests.unit.runs.supervising_client import FAST, fast_engine

RUN = "job-20260101-aaaa"


@pytest.fixture(params=KEEPERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with ledger_opener(request.param, tmp_path / "ledger.db")() as opened:
        yield opened


@pytest.fixture
def file_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def local(ledger: Ledger, tmp_path: Path) -> Iterator[Callable[..., RunOutcome]]:
    """Run the fake task on the local engine; updates go to `local.updates`-like list given by the caller."""
    engine = fast_engine()

    def start(updates: list[Update] | None = None, **orders: Any) -> RunOutcome:
        told: list[Update] = [] if updates is None else updates
        return supervise(order(tmp_path / "run", **orders), engine, ledger, time.time, told.append, FAST)

    yield start
    engine.down(Handle(engine="local", run_dir=str(tmp_path / "run"), name=RUN, details={}))


def played(ledger: Ledger, engine: PlayedEngine, tmp_path: Path, **orders: Any) -> RunOutcome:
    return supervise(order(tmp_path / "run", **orders), engine, ledger, time.time, lambda _: None, FAST)


def states(outcome: RunOutcome) -> list[str]:
    return [str(change.state) for change in outcome.record.history]


def test_a_run_from_beginning_to_end(local: Callable[..., RunOutcome], ledger: Ledger) -> None:
    updates: list[Update] = []
    outcome = local(updates, steps=20)
    record = outcome.record
    assert (outcome.exit_code, outcome.error) == (ExitCode.DONE, None)
    assert states(outcome) == ["planned", "launching", "running", "tearing_down", "succeeded"]
    assert [item.seq for item in ledger.events(RUN)] == list(range(22))
    assert record.evidence[-1].confirmed
    assert len(record.charges) >= 2
    assert record.billing_started_at_s is not None
    assert record.billing_ended_at_s is not None
    exact = PRICE * (Decimal(record.billing_ended_at_s) - Decimal(record.billing_started_at_s)) / 3600
    assert record.cost_usd is not None
    assert abs(record.cost_usd - exact) <= Decimal("0.000001")
    assert [update.event.seq for update in updates if isinstance(update, EventUpdate)] == list(range(22))
    lines = [update_to_json(update) for update in updates]
    assert json.loads(json.dumps(lines)) == lines
    assert {line["type"] for line in lines} == {"state", "metric", "event", "charge", "evidence", "log"}
    assert {line["schema"] for line in lines} == {1}
    assert any(line["type"] == "metric" and line["projected_usd"] is not None for line in lines)


def test_events_arrive_while_the_task_runs(local: Callable[..., RunOutcome]) -> None:
    updates: list[Update] = []
    local(updates, steps=30, step_s=0.05)
    kinds = [update_to_json(update)["type"] for update in updates]
    metrics = [place for place, kind in enumerate(kinds) if kind == "metric"]
    # Charges come by the clock: on a slow machine some before the task says anything.
    assert "charge" in kinds[metrics[0] : metrics[-1]]


def test_a_failed_task(local: Callable[..., RunOutcome]) -> None:
    outcome = local(trick="fail")
    assert outcome.exit_code is ExitCode.TASK_FAILED
    assert outcome.record.state is RunState.FAILED
    assert outcome.error is not None
    assert (outcome.error.message, outcome.error.hint) == ("loss is NaN at step 3", "Lower the rate.")
    assert outcome.record.history[-1].detail == "loss is NaN at step 3"


@pytest.mark.parametrize("trick", ["crash", "silent"])
def test_a_task_that_ends_without_a_word(local: Callable[..., RunOutcome], trick: str) -> None:
    outcome = local(trick=trick)
    assert outcome.record.state is RunState.FAILED
    assert outcome.error is not None
    assert "without a word" in outcome.error.message
    assert outcome.error.hint is not None
    assert f"`tunefare logs {RUN}`" in outcome.error.hint


def test_the_cap_ends_a_run(local: Callable[..., RunOutcome]) -> None:
    # 3.60 $/h is 0.001 $/s; a count of steps that was guessed ends no run, so what is spent has to.
    outcome = local(steps=10_000, measured=False, cap_usd=Decimal("0.0008"))
    assert outcome.exit_code is ExitCode.OVER_BUDGET
    assert outcome.record.state is RunState.STOPPED
    assert "stopping" in states(outcome)
    assert outcome.error is not None
    assert "spent of" in outcome.error.message
    assert outcome.record.cost_usd is not None
    assert outcome.record.cost_usd < Decimal("0.006")


def test_the_cap_holds_what_is_billed_besides_the_machine(ledger: Ledger, tmp_path: Path) -> None:
    asked = order(tmp_path / "run", steps=10_000, measured=False, cap_usd=Decimal("5"))
    gib = Interval(low=1, expected=50, high=49.992)
    total = MoneyInterval(low=Decimal(0), expected=Decimal(4), high=Decimal("4.9992"))
    traffic = CostLine(
        name="egress", quantity=gib, unit="GiB", unit_price_usd=Decimal("0.1"), total_usd=total, assumption=None
    )
    plan = replace(asked.plan, offers=(replace(asked.plan.offers[0], lines=(traffic,)),))
    outcome = supervise(replace(asked, plan=plan), fast_engine(), ledger, time.time, lambda _: None, FAST)
    assert outcome.exit_code is ExitCode.OVER_BUDGET
    assert outcome.error is not None
    assert outcome.error.message.endswith("spent of $5.00, and $5.00 for disk, address and traffic home")
    # The ledger has what the machine costs.
    assert outcome.record.cost_usd is not None
    assert outcome.record.cost_usd < Decimal("0.006")


def test_a_run_that_must_break_the_cap_ends_before_it(local: Callable[..., RunOutcome]) -> None:
    outcome = local(steps=1000, plan_steps=1_000_000, cap_usd=Decimal("2"))
    assert outcome.exit_code is ExitCode.OVER_BUDGET
    assert outcome.error is not None
    assert "would cost at least" in outcome.error.message


def test_the_longest_duration_ends_a_run(local: Callable[..., RunOutcome]) -> None:
    outcome = local(steps=10_000, max_duration_s=4.0)
    assert outcome.record.state is RunState.STOPPED
    assert outcome.exit_code is ExitCode.OVER_BUDGET


def test_a_stop_request_ends_a_run(local: Callable[..., RunOutcome], ledger: Ledger) -> None:
    class Stopper(list[Update]):
        def append(self, update: Update) -> None:
            if isinstance(update, EventUpdate) and update.event.seq == 2:
                ledger.request_stop(RUN, time.time(), "enough")

    outcome = local(Stopper(), steps=10_000)
    assert outcome.record.state is RunState.STOPPED
    assert outcome.exit_code is ExitCode.INTERRUPTED
    assert [c.detail for c in outcome.record.history if c.state is RunState.STOPPING] == ["stop requested: enough"]
    assert ledger.events(RUN)[-1].data["outcome"] == "stopped"


def test_a_listener_that_breaks_ends_the_run_and_its_error_goes_on(
    local: Callable[..., RunOutcome], ledger: Ledger
) -> None:
    class Closed(list[Update]):
        def append(self, update: Update) -> None:
            if isinstance(update, EventUpdate):
                raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        local(Closed(), steps=10_000)
    record = ledger.run(RUN)
    assert record.state is RunState.FAILED
    assert record.evidence[-1].confirmed


def test_a_listener_that_leaves_interrupts_the_run_in_good_order(
    local: Callable[..., RunOutcome], ledger: Ledger
) -> None:
    class Closed(list[Update]):
        def append(self, update: Update) -> None:
            if isinstance(update, EventUpdate) and update.event.seq == 2:
                raise InterruptedRunError("nobody reads", hint="read")

    outcome = local(Closed(), steps=10_000)
    assert outcome.record.state is RunState.INTERRUPTED
    assert outcome.exit_code is ExitCode.INTERRUPTED
    assert str(outcome.error) == "nobody reads; the run was ended"
    assert [c.detail for c in outcome.record.history if c.state is RunState.STOPPING] == ["interrupted: nobody reads"]
    assert ledger.events(RUN)[-1].data["outcome"] == "stopped"
    assert outcome.record.evidence[-1].confirmed


def test_nothing_is_launched_for_a_listener_that_has_left(ledger: Ledger, tmp_path: Path) -> None:
    def closed(_update: Update) -> None:
        raise InterruptedRunError("nobody reads")

    engine = PlayedEngine()
    outcome = supervise(order(tmp_path / "run"), engine, ledger, time.time, closed, FAST)
    assert outcome.record.state is RunState.INTERRUPTED
    assert "submit" not in engine.calls


def test_no_capacity(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(submit=NothingFitsError("no offer had capacity", hint="Try later."))
    outcome = played(ledger, engine, tmp_path)
    assert outcome.exit_code is ExitCode.NOTHING_FITS
    assert outcome.record.state is RunState.NO_CAPACITY
    assert outcome.record.failed_attempts == ("no offer had capacity",)
    assert outcome.record.charges == ()
    assert engine.calls[-2:] == ["down", "evidence"]


def test_a_launch_that_breaks_is_taken_down_and_charged(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(submit=EngineError("set-up failed", hint="Look."))
    outcome = played(ledger, engine, tmp_path)
    assert outcome.exit_code is ExitCode.TASK_FAILED
    assert outcome.record.state is RunState.FAILED
    assert outcome.error is not None
    assert (outcome.error.message, outcome.error.hint) == ("set-up failed", "Look.")
    assert [item.what for item in outcome.record.charges] == ["launch attempt"]
    assert engine.calls[-2:] == ["down", "evidence"]


def test_the_handle_is_stored_before_the_launch(ledger: Ledger, tmp_path: Path) -> None:
    class Looking(PlayedEngine):
        def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
            record = ledger.run(RUN)
            assert record.handle == handle
            assert record.state is RunState.LAUNCHING
            return super().submit(request, handle)

    assert played(ledger, Looking(), tmp_path).record.state is RunState.FAILED


def test_an_interrupt_during_the_launch(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(submit=KeyboardInterrupt())
    outcome = played(ledger, engine, tmp_path)
    assert outcome.exit_code is ExitCode.INTERRUPTED
    assert outcome.record.state is RunState.INTERRUPTED
    assert engine.calls[-2:] == ["down", "evidence"]


def test_a_stop_request_leaves_a_launch_that_blocks(ledger: Ledger, tmp_path: Path) -> None:
    class Blocking(PlayedEngine):
        def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
            ledger.request_stop(RUN, time.time(), "enough")
            time.sleep(30)
            submitted.append(handle)
            return super().submit(request, handle)

    submitted: list[Handle] = []
    outcome = played(ledger, Blocking(), tmp_path)
    assert outcome.record.state is RunState.STOPPED
    assert submitted == []


def test_a_broken_stream_is_taken_down(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(stream=EngineError("the log stream broke"))
    outcome = played(ledger, engine, tmp_path)
    assert outcome.record.state is RunState.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "the log stream broke"
    assert [item.seq for item in ledger.events(RUN)] == [0, 1]


def test_a_task_whose_stream_broke_is_told_to_end_before_its_results_are_fetched(
    ledger: Ledger, tmp_path: Path
) -> None:
    engine = PlayedEngine(stream=EngineError("the log stream broke"))
    engine.machine = MachineState.RUNNING
    played(ledger, engine, tmp_path)
    after = engine.calls[engine.calls.index("stream") :]
    assert after.index("cancel") < after.index("fetch") < after.index("down")


def test_missing_events_end_the_run_with_a_state_error(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine()
    engine.items = [event(0), event(5)]
    told: list[Update] = []
    with pytest.raises(StateError, match="missing"):
        supervise(order(tmp_path / "run"), engine, ledger, time.time, told.append, FAST)
    assert ledger.events(RUN) == (event(0),)
    assert [update.event.seq for update in told if isinstance(update, EventUpdate)] == [0]
    assert engine.calls[-2:] == ["down", "evidence"]
    assert ledger.run(RUN).state is RunState.FAILED


def test_evidence_is_asked_again_until_it_confirms(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine()
    engine.confirm_after = 3
    outcome = played(ledger, engine, tmp_path)
    assert outcome.record.state is RunState.FAILED
    assert [item.confirmed for item in outcome.record.evidence] == [False, False, True]
    assert engine.calls.count("down") == 3


@pytest.mark.parametrize("fail", [{}, {"down": EngineError("denied")}, {"evidence": RuntimeError("a bug")}])
def test_an_end_without_proof_is_unconfirmed(ledger: Ledger, tmp_path: Path, fail: dict[str, BaseException]) -> None:
    engine = PlayedEngine(**fail)
    engine.confirm_after = 99
    outcome = played(ledger, engine, tmp_path)
    assert outcome.exit_code is ExitCode.TEARDOWN_UNCONFIRMED
    assert outcome.record.state is RunState.UNCONFIRMED
    assert outcome.record.billing_ended_at_s is None
    assert len(outcome.record.evidence) == FAST.evidence_attempts
    assert outcome.error is not None
    assert "MAY STILL BE BILLED" in outcome.error.message


def test_a_fetch_that_fails_keeps_no_machine_alive(ledger: Ledger, tmp_path: Path) -> None:
    engine = PlayedEngine(fetch=EngineError("no route"), status=EngineError("no route"))
    outcome = played(ledger, engine, tmp_path)
    assert outcome.record.evidence[-1].confirmed


def test_a_ledger_file_that_fills_up_keeps_no_machine_alive(file_ledger: Ledger, tmp_path: Path) -> None:
    engine, ledger = PlayedEngine(), file_ledger

    def fill(update: Update) -> None:
        if isinstance(update, EventUpdate):
            ledger._db.execute("PRAGMA query_only = ON")

    with pytest.raises(StateError, match="cannot be written"):
        supervise(order(tmp_path / "run"), engine, ledger, time.time, fill, FAST)
    assert engine.calls[-2:] == ["down", "evidence"]
    ledger._db.execute("PRAGMA query_only = OFF")
    assert ledger.state(RUN) is RunState.RUNNING
