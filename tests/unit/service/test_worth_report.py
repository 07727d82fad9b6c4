"""Worth of real plans, from shipped traces: alternatives, own scores, what is recommended."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import UsageError
from manager.planner.worth_rules import Verdict
from manager.profiling.trace_worker import TraceWorker
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.service import worth as service
from manager.service.alternatives import alternatives, models_of_task, on_model
from manager.service.context import open_context
from manager.service.own_scores import OwnScore, own_scores
from manager.service.saved_plans import has_plan
from manager.service.starting import load_spec
from manager.service.worth import Stakes, WorthReport, worth_report
from manager.spec.model import RunSpec
from tasks.job import TargetChoice
from tasks.protocol import EventType
from tests.support import report_factory
from tests.support.cli import write_news, write_run_file

BERT = "google-bert/bert-large-uncased"


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the libraries nor a process that would trace."""
    for name in ("torch", "transformers", "peft", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)

    def started(_: TraceWorker) -> None:
        raise AssertionError("the tracing process was started")

    monkeypatch.setattr(TraceWorker, "start", started)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """A classifier of short news on rented machines."""
    file = write_run_file(
        tmp_path,
        model=BERT,
        data=write_news(tmp_path),
        training={"precision": "bf16-mixed"},
        where={"clouds": ["aws", "gcp"]},
    )
    return load_spec(file)


def score(spec: RunSpec, tuned: float, **changes: Any) -> OwnScore:
    """One own run's."""
    return OwnScore(run_id="r", spec=replace(spec, **changes), data_sha256=None, baseline=0.3, tuned=tuned)


def answer(spec: RunSpec, **said: Any) -> WorthReport:
    """The report where one point is worth so much."""
    figures: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, str) and name != "metric" else value for name, value in said.items()
    }
    return worth_report(open_context(), spec, Stakes(**figures))


def test_alternatives_are_cheaper_methods_and_clearly_smaller_models_of_the_type(spec: RunSpec) -> None:
    found = alternatives(spec, parameters=335_000_000)
    assert [one.kind for one in found] == ["frozen", "lora", "smaller", "smaller"]
    assert [one.spec.method.kind for one in found] == ["frozen", "lora", "full", "full"]
    sizes = dict((name, size) for size, name in models_of_task(spec))
    first, second = (sizes[one.spec.model.source] for one in found[2:])
    assert second <= 0.75 * first <= 0.75**2 * 335_000_000
    assert found[2].spec.model.source == "google-bert/bert-base-uncased"
    assert all(one.spec.data == spec.data for one in found)


def test_frozen_features_have_nothing_cheaper_than_a_smaller_model(spec: RunSpec) -> None:
    frozen = replace(spec, method=replace(spec.method, kind="frozen"))
    assert {one.kind for one in alternatives(frozen, parameters=335_000_000)} == {"smaller"}
    assert alternatives(frozen, parameters=None) == []


def test_a_method_that_ships_in_another_precision_takes_that(spec: RunSpec) -> None:
    whole = replace(spec, training=replace(spec.training, precision="fp32"))
    lora = next(one for one in alternatives(whole, parameters=None) if one.kind == "lora")
    assert lora.spec.training.precision == "bf16-mixed"


def test_a_model_without_a_shipped_trace_or_with_too_few_positions_is_left_out(spec: RunSpec) -> None:
    assert on_model(spec, "google-bert/bert-base-uncased") is not None
    longer = replace(spec, training=replace(spec.training, max_length=4096))
    assert on_model(longer, "google-bert/bert-base-uncased") is None
    chunked = replace(spec, task="causal-lm", training=replace(spec.training, loss="chunked"))
    assert on_model(chunked, "openai-community/gpt2") is None


def test_the_plans_give_the_dollars(spec: RunSpec) -> None:
    report = answer(spec, baseline="0.81", target="0.90", usd_per_point="200")
    own = report.asked.tuning
    assert own.run_usd is not None
    assert (report.recommendation.verdict, report.recommendation.rule) == (Verdict.TUNE, 3)
    net = report.asked.net_usd
    assert net is not None
    # The assumption tuning_runs: 3 runs, at least 1, at most 18.
    assert net.expected == 1800 - 3 * own.run_usd.expected
    assert (net.low, net.high) == (1800 - 18 * own.run_usd.high, 1800 - own.run_usd.low)
    assert "tuning_runs" in report.question.runs_basis
    cheaper = [other.tuning.run_usd for other in report.alternatives]
    assert len(cheaper) == 4
    assert all(price is not None and price.expected < own.run_usd.expected for price in cheaper)
    assert own.plan_id is not None
    assert has_plan(open_context(), own.plan_id)


def test_the_plan_of_what_is_recommended_is_kept_and_no_other(spec: RunSpec) -> None:
    run = answer(spec, baseline="0.81", target="0.90", usd_per_point="1").asked.tuning.run_usd
    assert run is not None
    # Nine points are worth a little less than the three runs.
    value = str(round(3 * run.expected / 9 * Decimal("0.99"), 6))
    report = answer(spec, baseline="0.81", target="0.90", usd_per_point=value, runs=None)
    advised = report.recommendation.tuning
    assert advised is not None
    assert report.recommendation.rule in (4, 6)
    assert advised.kind != "asked"
    kept = [
        other.tuning.kind
        for other in report.alternatives
        if other.tuning.plan_id and has_plan(open_context(), other.tuning.plan_id)
    ]
    assert kept == [advised.kind]


def test_the_target_of_the_run_file_counts(spec: RunSpec) -> None:
    aimed = replace(spec, target=TargetChoice(metric="accuracy", value=0.9))
    report = answer(aimed, baseline="0.81", usd_per_point="200")
    assert report.question.metric == "accuracy"
    assert report.question.target == Decimal("0.9")
    other = answer(aimed, baseline="0.81", usd_per_point="200", metric="f1_macro")
    assert other.question.target is None
    assert other.recommendation.verdict is Verdict.UNKNOWN


def test_a_job_over_its_cap_may_have_an_alternative_within_it(spec: RunSpec) -> None:
    value = {"baseline": "0.81", "target": "0.90", "usd_per_point": "200"}
    free = answer(spec, **value)
    small = next(other.tuning for other in free.alternatives if other.tuning.kind == "smaller")
    assert small.run_usd is not None
    cap = small.run_usd.expected
    report = answer(replace(spec, budget=replace(spec.budget, max_usd=cap)), **value)
    assert report.recommendation.rule == 1
    assert report.recommendation.verdict is not Verdict.UNKNOWN
    advised = report.recommendation.tuning
    assert advised is not None
    assert advised.run_usd is not None
    assert advised.run_usd.expected <= cap
    assert "more than the cap" in report.recommendation.reason
    none = answer(replace(spec, budget=replace(spec.budget, max_usd=Decimal("0.0001"))), **value)
    assert none.recommendation.verdict is Verdict.UNKNOWN
    assert all(other.tuning.reason for other in none.alternatives)


def test_nothing_is_planned_for_a_question_that_cannot_be_answered(spec: RunSpec) -> None:
    def planner(job: RunSpec) -> Any:
        raise AssertionError("planned")

    with pytest.raises(UsageError, match="what the tuning is worth is not said"):
        worth_report(open_context(), spec, Stakes(baseline=Decimal("0.8")), planner=planner)


def test_own_runs_beat_what_was_assumed(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = replace(spec.method, kind="frozen")
    other_data = replace(spec.data, source="other.csv")
    known = [
        score(spec, 0.86),
        score(spec, 0.88),
        score(spec, 0.95, data=other_data),
        score(spec, 0.84, method=frozen),
    ]
    monkeypatch.setattr(service, "own_scores", lambda context, metric: known)
    report = answer(spec, baseline="0.81", target="0.90", usd_per_point="200")
    assert report.asked.tuning.measured == (0.86, 0.88)
    assert report.asked.gain is not None
    assert report.asked.gain.points.expected == 6
    by_kind = {other.tuning.kind: other for other in report.alternatives}
    gain = by_kind["frozen"].gain
    assert gain is not None
    assert gain.is_measured
    assert gain.points.expected == 3
    # A classifier's untouched head is chance: it is no present solution.
    unsaid = answer(spec, target="0.90", usd_per_point="200")
    assert unsaid.question.baseline is None
    assert unsaid.recommendation.verdict is Verdict.UNKNOWN


def test_scores_of_the_ledger(spec: RunSpec) -> None:
    context = open_context()
    assert own_scores(context, "f1_macro") == ()
    context.home.ensure()
    offer = report_factory.make_offer()
    plan = report_factory.make_plan(offer=offer, spec=spec)
    with Ledger.open(context.home.ledger_file) as ledger:
        for name, end in (("done", RunState.SUCCEEDED), ("broken", RunState.FAILED)):
            ledger.create_run(name, plan, context.home.root / name, "local", None, 1.0)
            for state in (RunState.LAUNCHING, RunState.RUNNING, RunState.TEARING_DOWN, end):
                ledger.transition(name, state, 2.0)
            ledger.append_events(name, report_factory.make_events(final=0.9))
    found = own_scores(context, "f1_macro")
    assert [(one.run_id, one.tuned) for one in found] == [("done", 0.8989)]
    assert found[0].is_of(spec, None)
    assert not found[0].is_of(replace(spec, task="causal-lm"), None)
    assert own_scores(context, "token_accuracy") == ()


def test_events_without_a_final_evaluation_have_no_score(spec: RunSpec) -> None:
    context = open_context()
    context.home.ensure()
    plan = report_factory.make_plan(offer=report_factory.make_offer(), spec=spec)
    events = report_factory.cut(report_factory.make_events(), EventType.TRAIN)
    with Ledger.open(context.home.ledger_file) as ledger:
        ledger.create_run("run", plan, context.home.root, "local", None, 1.0)
        for state in (RunState.LAUNCHING, RunState.RUNNING, RunState.TEARING_DOWN, RunState.SUCCEEDED):
            ledger.transition("run", state, 2.0)
        ledger.append_events("run", events)
    assert own_scores(context, "f1_macro") == ()
