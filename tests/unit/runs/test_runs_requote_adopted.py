"""The renewed quote of a run that is adopted: what its client left undecided is decided by the user's rule."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode
from manager.launch.engine import MachineState
from manager.runs.database import LedgerAwayError
from manager.runs.ledger import Ledger
from manager.runs.reconcile import Reconciled, reconcile
from manager.runs.requote_rows import RequoteRow, RequoteStep
from manager.runs.states import RunState
from manager.runs.updates import LogUpdate, RequoteUpdate, Update
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST
from tests.unit.runs.test_runs_requote import HOUR, ProbedEngine, probe

RUN = "job-20260101-aaaa"
RENEWED = RequoteRow(step=RequoteStep.RENEWED, at_s=0.0, text="now $10.80")
ASKED = RequoteRow(step=RequoteStep.ASKED, at_s=0.0, text="without an answer it goes on")
NO = RequoteRow(step=RequoteStep.ANSWERED, at_s=0.0, text="answered by ann: end", goes_on=False)
YES = RequoteRow(step=RequoteStep.ANSWERED, at_s=0.0, text="answered by ann: go on", goes_on=True)
SETTLED = RequoteRow(step=RequoteStep.SETTLED, at_s=0.0, text="the run goes on, as you answered")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def leave(ledger: Ledger, tmp_path: Path, rule: str, *rows: RequoteRow, remaining_s: float = 2 * HOUR) -> ProbedEngine:
    """A run whose client is gone after its probe; an hour is on the bill of the played machine."""
    engine = ProbedEngine(remaining_s, lasts_s=1.5)
    engine.machine = MachineState.RUNNING
    asked = order(tmp_path / "run")
    spec = replace(asked.plan.spec, budget=replace(asked.plan.spec.budget, requote=rule))
    launched = engine.submit(asked.request, engine.reserve(asked.request))
    ledger.create_run(RUN, replace(asked.plan, spec=spec), asked.request.run_dir, engine.name, Decimal(50), time.time())
    ledger.transition(RUN, RunState.LAUNCHING, time.time())
    ledger.store_launched(RUN, launched, time.time())
    ledger.transition(RUN, RunState.RUNNING, time.time())
    ledger.append_events(RUN, [event(0), probe(remaining_s)])
    for row in rows:
        ledger.add_requote(RUN, replace(row, at_s=time.time()))
    return engine


def adopt(ledger: Ledger, engine: ProbedEngine) -> tuple[Reconciled, list[Update]]:
    told: list[Update] = []
    (result,) = reconcile(ledger, {engine.name: engine}, time.time, told.append, settings=FAST)
    return result, told


def was_ended(result: Reconciled) -> bool:
    assert result.outcome is not None, result.error
    return result.outcome.exit_code is ExitCode.OVER_BUDGET


def steps(ledger: Ledger) -> list[str]:
    return [str(row.step) for row in ledger.requotes(RUN)]


def test_abort_holds_for_whoever_adopts(ledger: Ledger, tmp_path: Path) -> None:
    result, told = adopt(ledger, leave(ledger, tmp_path, "abort"))
    assert was_ended(result)
    assert steps(ledger) == ["renewed", "settled"]
    assert any(isinstance(update, RequoteUpdate) for update in told)


def test_a_quote_that_was_renewed_is_not_renewed_again(ledger: Ledger, tmp_path: Path) -> None:
    result, told = adopt(ledger, leave(ledger, tmp_path, "abort", RENEWED))
    assert was_ended(result)
    assert steps(ledger) == ["renewed", "settled"]
    assert not any(isinstance(update, RequoteUpdate) for update in told)


def test_what_was_billed_since_the_probe_counts_once(ledger: Ledger, tmp_path: Path) -> None:
    """What remained then has partly passed: an hour and 600 s are within the quote, whenever the run is adopted."""
    engine = leave(ledger, tmp_path, "abort", remaining_s=600.0)
    ledger.add_requote(RUN, replace(RENEWED, at_s=time.time() - 1800.0))
    result, _ = adopt(ledger, engine)
    assert not was_ended(result)
    assert ledger.requotes(RUN)[-1].text == "within what is tolerated; the run goes on"


@pytest.mark.parametrize(("answer", "ends"), [(NO, True), (YES, False)])
def test_an_answer_that_nobody_read_is_heeded(ledger: Ledger, tmp_path: Path, answer: RequoteRow, ends: bool) -> None:
    asked = replace(ASKED, until_s=time.time() + 100.0)
    result, _ = adopt(ledger, leave(ledger, tmp_path, "ask", RENEWED, asked, answer))
    assert was_ended(result) is ends
    assert steps(ledger) == ["renewed", "asked", "answered", "settled"]


def test_an_open_question_stays_open(ledger: Ledger, tmp_path: Path) -> None:
    asked = replace(ASKED, until_s=time.time() + 100.0)
    engine = leave(ledger, tmp_path, "ask", RENEWED, asked)
    other = Ledger.open(tmp_path / "ledger.db")
    answered = [False]

    def answer(update: Update) -> None:
        if not answered[0]:
            answered[0] = True
            other.add_requote(RUN, replace(NO, at_s=time.time()))

    engine.items = []
    with other:
        (result,) = reconcile(ledger, {engine.name: engine}, time.time, answer, settings=FAST)
    assert was_ended(result)


def test_a_question_whose_time_is_over_is_as_good_as_nobody(ledger: Ledger, tmp_path: Path) -> None:
    result, told = adopt(ledger, leave(ledger, tmp_path, "ask", RENEWED, replace(ASKED, until_s=time.time() - 1.0)))
    assert not was_ended(result)
    assert any("nobody is there to ask" in update.text for update in told if isinstance(update, LogUpdate))


def test_what_was_decided_stays_decided(ledger: Ledger, tmp_path: Path) -> None:
    result, _ = adopt(ledger, leave(ledger, tmp_path, "abort", RENEWED, SETTLED))
    assert not was_ended(result)
    assert steps(ledger) == ["renewed", "settled"]


def test_a_ledger_that_is_away_ends_no_run(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = leave(ledger, tmp_path, "abort", RENEWED)

    def away(_ledger: Ledger, _run_id: str) -> None:
        raise LedgerAwayError("the server does not answer")

    monkeypatch.setattr(Ledger, "requotes", away)
    result, told = adopt(ledger, engine)
    assert not was_ended(result)
    assert any("cannot be read" in update.text for update in told if isinstance(update, LogUpdate))
