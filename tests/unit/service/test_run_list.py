"""The list of runs: what it says of each, what stands on top, and which part of it is asked for."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import StateError, UsageError
from manager.reports.build import build_report
from manager.runs.clients import this_client
from manager.runs.rows import offer_to_json
from manager.runs.states import RunState
from manager.runs.summary import RunSummary
from manager.service.context import Context
from manager.service.inspection import find_events, open_ledger
from manager.service.run_list import RunChoice, billing_text, choose_runs, moment_s, records_of, run_summaries
from tasks.protocol import EventType
from tests.support.contexts import make_context
from tests.support.ledger_runs import keep_runs
from tests.support.report_factory import cut, make_estimate, make_events, make_offer, make_run

NOW_S = 1_790_000_000.0


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


def one(context: Context, run_id: str) -> RunSummary:
    return next(each for each in run_summaries(context) if each.run_id == run_id)


def test_no_ledger_is_no_run_and_makes_none(context: Context) -> None:
    assert run_summaries(context) == ()
    assert not context.home.ledger_file.exists()
    with pytest.raises(StateError, match="is gone"):
        run_summaries(context, must_exist=True)


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.STOPPED, RunState.RUNNING, RunState.UNCONFIRMED])
def test_a_summary_says_what_the_report_says(context: Context, state: RunState) -> None:
    keep_runs(context, make_run(run_id="a", state=state))
    run, report = one(context, "a"), build_report(find_events(context, "a"))
    score = report.score("accuracy")
    assert score is not None
    assert (run.metric, run.metric_before, run.metric_after) == ("accuracy", score.baseline, score.tuned)
    assert (run.state, run.cost_usd, run.cap_usd) == (report.state, report.cost_usd, report.cap_usd)
    assert run.billed_hours == (None if report.billed_s is None else report.billed_s / 3600)
    assert run.evidence_confirmed is report.teardown_confirmed
    assert (run.name, run.model, run.method) == (
        report.spec.name,
        report.spec.model.source,
        report.spec.method.kind,
    )
    assert (run.task, run.steps, run.machine) == ("text-classification", report.steps_planned, "aws 1x L4")
    cost = report.gauge("cost")
    assert cost is not None
    is_test = state is RunState.SUCCEEDED
    assert run.cost_ratio == (pytest.approx(cost.ratio) if is_test else None)
    assert run.may_bill is report.still_billing


def test_scores_after_a_resume_are_those_of_the_report(context: Context) -> None:
    """A final evaluation of weights that a later start has left behind counts no more."""
    full = make_run(run_id="a", state=RunState.RUNNING)
    events = list(cut(make_events(), EventType.EVALUATION, count=99))
    until = max(event.seq for event in events)
    resumed = replace(events[0], seq=until + 1, data={**events[0].data, "resumed_from_step": 10})
    keep_runs(context, replace(full, events=(*events, resumed)))
    run, report = one(context, "a"), build_report(find_events(context, "a"))
    score = report.score("accuracy")
    assert score is not None
    assert score.tuned is None
    assert (run.metric_before, run.metric_after) == (score.baseline, None)


def test_a_run_before_its_launch(context: Context) -> None:
    with open_ledger(context) as ledger:
        record = make_run(run_id="a").record
        ledger.create_run("a", record.plan, Path("/r"), "sky", None, 5.0, this_client(5.0))
    run = one(context, "a")
    assert (run.state, run.cost_usd, run.billed_hours, run.cap_usd) == (RunState.PLANNED, Decimal(0), None, None)
    assert (run.metric_before, run.metric_after, run.evidence_confirmed) == (None, None, None)
    assert (run.is_launched, run.machine, run.has_client, run.may_bill) == (False, "aws 1x L4", True, False)
    assert run.estimate is not None
    assert run.estimate.low < run.estimate.expected < run.estimate.high


def test_an_unknown_price_is_an_unknown_cost(context: Context) -> None:
    keep_runs(context, make_run(run_id="a", price=None))
    run = one(context, "a")
    assert (run.cost_usd, run.price_usd_per_hour, run.cost_ratio) == (None, None, None)
    assert run.billed_hours is not None


def test_a_fall_back_has_its_own_figures_where_the_plan_has_them(context: Context) -> None:
    run = make_run(run_id="a")
    other = make_offer(accelerator="A100", cloud="gcp", price="3.20")
    plan = replace(run.record.plan, offers=(*run.record.plan.offers, make_estimate(other)))
    keep_runs(context, replace(run, record=replace(run.record, plan=plan, offer=replace(other, price_age_s=7.0))))
    found, figures = one(context, "a"), make_estimate(other)
    assert (found.machine, found.price_usd_per_hour) == ("gcp 1x A100", Decimal("3.20"))
    assert found.estimate == figures.cost_usd


def test_a_fall_back_has_its_own_machine_and_no_figures_of_another(context: Context) -> None:
    run = make_run(run_id="a")
    other = make_offer(accelerator="A100", cloud="gcp")
    keep_runs(context, replace(run, record=replace(run.record, offer=other)))
    found = one(context, "a")
    assert (found.machine, found.is_launched) == ("gcp 1x A100", True)
    assert (found.estimate, found.estimated_machine_usd, found.cost_ratio) == (None,) * 3


def test_a_run_that_an_older_client_writes_stands_there_too(context: Context) -> None:
    """Until the ledger is opened again, what lists need of it is unknown; never its state, its cost or its machine."""
    keep_runs(context, make_run(run_id="a"))
    with open_ledger(context) as ledger:
        _write_as_before(context.home.ledger_file)
        run = next(each for each in ledger.summaries() if each.run_id == "b")
    assert (run.run_id, run.name, run.task, run.estimate, run.metric) == ("b", None, None, None, None)
    assert (run.created_at_s, run.state, run.may_bill) == (7.0, RunState.RUNNING, True)
    assert (run.cost_usd, run.machine) == (Decimal("0.03"), "aws 1x L4")
    assert run.billed_hours == pytest.approx(30 / 3600)
    assert run.price_usd_per_hour == Decimal(3)
    again = run_summaries(context)[0]
    assert (again.run_id, again.name, again.cost_usd, again.has_client) == (
        "b",
        "bbc-news-minilm",
        Decimal("0.03"),
        False,
    )


def _write_as_before(file: Path) -> None:
    db = sqlite3.connect(file)
    db.execute("INSERT INTO runs SELECT 'b', 7.0, plan_json, '/r', 'sky', NULL FROM runs")
    db.execute("INSERT INTO state_changes (run_id, state, at_s) VALUES ('b', 'running', 8.0)")
    db.execute("INSERT INTO launches VALUES ('b', 8.0, ?, 8.0)", (offer_to_json(make_offer(price="3")),))
    row = "('b', 38.0, 8.0, 38.0, '3.6', '0.03', 'machine')"
    db.execute(f"INSERT INTO charges (run_id, at_s, from_s, to_s, price_usd_per_hour, amount_usd, what) VALUES {row}")
    db.commit()
    db.close()


def test_what_may_be_billed_stands_on_top_then_the_newest(context: Context) -> None:
    states = {
        "old": RunState.UNCONFIRMED,
        "middle": RunState.SUCCEEDED,
        "new": RunState.FAILED,
        "now": RunState.RUNNING,
    }
    for age, (run_id, state) in enumerate(states.items()):
        run = make_run(run_id=run_id, state=state)
        keep_runs(context, replace(run, record=replace(run.record, created_at_s=1000.0 * age)))
    found = run_summaries(context)
    assert [run.run_id for run in found] == ["now", "old", "new", "middle"]
    assert [run.may_bill for run in found] == [True, True, False, False]
    assert [run.has_client for run in found] == [False, False, None, None]
    assert [record.run_id for record in records_of(context, found[1:3])] == ["old", "new"]


def test_runs_that_were_over_are_not_read_again(context: Context) -> None:
    keep_runs(context, make_run(run_id="over"), make_run(run_id="open", state=RunState.UNCONFIRMED))
    known = {run.run_id: run for run in run_summaries(context)}
    with open_ledger(context) as ledger:
        ledger.transition("open", RunState.TEARING_DOWN, 7e9)
        ledger.transition("open", RunState.FAILED, 8e9)
    keep_runs(context, make_run(run_id="new", state=RunState.RUNNING))
    again = {run.run_id: run for run in run_summaries(context, known=known)}
    assert again == {run.run_id: run for run in run_summaries(context)}
    assert [str(again[run_id].state) for run_id in ("over", "open", "new")] == ["succeeded", "failed", "running"]
    assert again["over"] is known["over"]


def summary(run_id: str, **values: object) -> RunSummary:
    """A run that ended, with what a test is about."""
    plain: dict[str, object] = {name: None for name in RunSummary.__dataclass_fields__}
    usual = {"state": RunState.SUCCEEDED, "created_at_s": 0.0, "changed_at_s": 0.0, "is_launched": True}
    return RunSummary(**{**plain, **usual, "run_id": run_id, **values})  # type: ignore[arg-type]


RUNS = (
    summary("a", name="news", project="p", cost_usd=Decimal(2), metric="accuracy", metric_after=0.9, created_at_s=9.0),
    summary("b", name="Wiki", model="org/Big-LM", cost_usd=None, metric="perplexity", metric_after=3.0),
    summary(
        "c", state=RunState.RUNNING, cost_usd=Decimal(5), metric="perplexity", metric_after=2.0, machine="aws 1x L4"
    ),
    summary("d", state=RunState.FAILED, project="p", cost_usd=Decimal(0), metric="accuracy", metric_after=0.95),
)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (RunChoice(), "abcd"),
        (RunChoice(text="BIG wiki"), "b"),
        (RunChoice(text="l4"), "c"),
        (RunChoice(text="news l4"), ""),
        (RunChoice(states=("running", "Failed")), "cd"),
        (RunChoice(project="p"), "ad"),
        (RunChoice(since_s=9.0), "a"),
        (RunChoice(may_bill=True), "c"),
        (RunChoice(sort="cost"), "cadb"),
        (RunChoice(sort="cost", limit=2), "ca"),
        (RunChoice(sort="metric"), "dacb"),
        (RunChoice(sort="name"), "bacd"),
    ],
)
def test_the_part_that_is_asked_for(choice: RunChoice, expected: str) -> None:
    assert "".join(run.run_id for run in choose_runs(RUNS, choice)) == expected


def test_states_and_orders_that_there_are_not() -> None:
    with pytest.raises(UsageError, match="there is no state `runing`"):
        choose_runs(RUNS, RunChoice(states=("runing",)))
    with pytest.raises(UsageError, match="there is no order `price`"):
        choose_runs(RUNS, RunChoice(sort="price"))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12h", NOW_S - 43_200),
        ("2w", NOW_S - 1_209_600),
        ("2026-09-21", 1_789_948_800.0),
        ("2026-09-21T08:00+02:00", 1_789_970_400.0),
    ],
)
def test_moments(text: str, moment: float) -> None:
    assert moment_s(text, NOW_S) == moment


@pytest.mark.parametrize("text", ["", "d", "7 days", "yesterday", "-1d", "2026-13-01"])
def test_no_moments(text: str) -> None:
    with pytest.raises(UsageError, match="is no moment"):
        moment_s(text, NOW_S)


def test_what_is_billed_now_in_words() -> None:
    running = summary("r", state=RunState.RUNNING, price_usd_per_hour=Decimal("0.60"))
    unknown = summary("u", state=RunState.UNCONFIRMED)
    assert billing_text(RUNS[:2]) is None
    assert billing_text([running, *RUNS[:2]]) == "1 run may still be billed: $0.60/h"
    assert billing_text([running, running]) == "2 runs may still be billed: $1.20/h"
    assert billing_text([running, unknown]) == "2 runs may still be billed: $0.60/h and 1 at an unknown price"
    assert billing_text([unknown]) == "1 run may still be billed: price unknown"
    alone = billing_text([running, replace(running, has_client=False), replace(running, has_client=True)])
    assert alone == "3 runs may still be billed: $1.80/h, 1 without a client (tunefare reconcile)"
