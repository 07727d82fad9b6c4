"""The question whether a run goes on, put through the ledger and answered from another process."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Event, Thread

import pytest

from manager.errors import UsageError
from manager.runs.ledger import Ledger
from manager.runs.requote_rows import RequoteStep
from manager.runs.states import RunState
from manager.runs.supervise import RunOutcome, supervise
from manager.service.context import Context
from manager.service.requotes import answer_requote, asking, renewed_quote
from tests.support.contexts import make_context
from tests.unit.runs.samples import order
from tests.unit.runs.supervising_client import FAST
from tests.unit.runs.test_runs_requote import HOUR, Answer, ProbedEngine

RUN = "job-20260101-aaaa"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path, clock=time.time)


def detached(context: Context, beside: Answer | None = None, *, answer_s: float = 20.0) -> RunOutcome:
    """A run that breaks its cap by its probe, under the rule `ask`, supervised as by a process without a terminal."""
    asked = order(context.home.runs_dir / RUN, run_id=RUN, cap_usd=Decimal(5))
    spec = replace(asked.plan.spec, budget=replace(asked.plan.spec.budget, requote="ask"))
    run = replace(asked, plan=replace(asked.plan, spec=spec), ask=asking(context, RUN, beside))
    settings = replace(FAST, requote_answer_s=answer_s)
    with Ledger.open(context.home.ledger_file) as ledger:
        return supervise(run, ProbedEngine(2 * HOUR, lasts_s=4.0), ledger, time.time, lambda _: None, settings)


def steps(context: Context) -> list[RequoteStep]:
    return [row.step for row in renewed_quote(context, RUN)[1]]


def answer_when_asked(context: Context, *, goes_on: bool, over: Event) -> None:
    while not over.wait(0.05):
        with suppress(UsageError):
            answer_requote(context, RUN, goes_on=goes_on)
            return


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_answer_from_elsewhere_decides(context: Context, goes_on: bool) -> None:
    over = Event()
    other = Thread(target=answer_when_asked, args=(context,), kwargs={"goes_on": goes_on, "over": over}, daemon=True)
    other.start()
    outcome = detached(context)
    over.set()
    other.join(10)
    assert outcome.record.state is (RunState.SUCCEEDED if goes_on else RunState.STOPPED)
    assert steps(context) == [
        RequoteStep.RENEWED,
        RequoteStep.ASKED,
        RequoteStep.ANSWERED,
        RequoteStep.SETTLED,
    ]
    last = renewed_quote(context, RUN)[1][-1].text
    assert last == ("the run goes on at the renewed quote, as you answered" if goes_on else "ended as you answered")
    with pytest.raises(UsageError, match="asks nothing now"):
        answer_requote(context, RUN, goes_on=True)


def test_without_an_answer_in_time_the_safe_choice_is_made_and_told_before(context: Context) -> None:
    outcome = detached(context, answer_s=0.5)
    assert outcome.record.state is RunState.STOPPED
    rows = renewed_quote(context, RUN)[1]
    assert rows[1].text == "without an answer it is ended, for its cap would be broken"
    assert rows[-1].text == "ended as nobody answered, and the cap would be broken"


def test_the_terminal_may_be_faster(context: Context) -> None:
    at_terminal = Answer(True)
    outcome = detached(context, at_terminal)
    assert outcome.record.state is RunState.SUCCEEDED
    assert at_terminal.is_withdrawn
    assert steps(context) == [RequoteStep.RENEWED, RequoteStep.ASKED, RequoteStep.SETTLED]


def test_a_run_that_asks_nothing_is_not_answered(context: Context) -> None:
    with Ledger.open(context.home.ledger_file) as ledger:
        made = order(context.home.runs_dir / RUN, run_id=RUN)
        ledger.create_run(RUN, made.plan, made.request.run_dir, "local", None, 1.0)
    with pytest.raises(UsageError, match="no probe has renewed its quote"):
        answer_requote(context, RUN, goes_on=False)
    assert steps(context) == []
