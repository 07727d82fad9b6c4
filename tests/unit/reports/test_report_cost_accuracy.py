"""Which runs stand in one chart of cost against accuracy, and why the others do not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from manager.reports.build import build_report
from manager.reports.cost_accuracy import cost_accuracy
from manager.reports.model import Report, Score
from manager.runs.states import RunState
from tests.support.report_factory import make_run


def _report(run_id: str, *, price: str | None = "1", final: float = 0.95) -> Report:
    return build_report(make_run(run_id=run_id, price=price, final=final))


def _other_data(report: Report, sha256: str | None = "0" * 64) -> Report:
    assert report.data is not None
    return replace(report, data=replace(report.data, sha256=sha256))


def test_points_stand_by_cost_with_their_marks_and_the_frontier() -> None:
    found = cost_accuracy([_report("dear", price="4"), _report("cheap", final=0.9), _report("good", price="2")])
    assert [(point.mark, point.run.run_id) for point in found.points] == [("A", "cheap"), ("B", "good"), ("C", "dear")]
    assert [point.run.run_id for point in found.frontier] == ["cheap", "good"]
    assert found.apart == ()


def test_runs_of_other_samples_stand_apart_and_beat_nobody() -> None:
    reports = [_report("a", price="4"), _report("b", price="5", final=0.96), _other_data(_report("c", final=0.99))]
    found = cost_accuracy(reports)
    assert [point.run.run_id for point in found.points] == ["a", "b"]
    assert all(point.run.on_frontier for point in found.points)
    assert [(one.run.run_id, one.reason) for one in found.apart] == [("c", "tested on other samples: SetFit/bbc-news")]


def test_another_task_and_unknown_samples_stand_apart() -> None:
    other = _report("image")
    other = replace(other, spec=replace(other.spec, task="image-classification"))
    found = cost_accuracy([_report("a"), _report("b"), other, _other_data(_report("dark"), None)])
    assert [one.reason for one in found.apart] == [
        "another task: image-classification",
        "what it was tested on is not known",
    ]


def test_what_is_missing_is_said() -> None:
    running = build_report(make_run(run_id="running", state=RunState.RUNNING))
    untested = build_report(make_run(run_id="untested", events=()))
    found = cost_accuracy([_report("a"), _report("free", price=None), running, untested])
    assert [(one.run.run_id, one.reason) for one in found.apart] == [
        ("free", "no cost"),
        ("running", "still billed"),
        ("untested", "no final accuracy"),
    ]


def test_perplexity_is_compared_within_one_model() -> None:
    def with_perplexity(run_id: str, model: str, tuned: float) -> Report:
        report = _report(run_id)
        score = Score(metric="perplexity", baseline=90.0, tuned=tuned)
        spec = replace(report.spec, model=replace(report.spec.model, source=model))
        return replace(report, spec=spec, scores=(*report.scores, score))

    reports = [with_perplexity("a", "one", 30), with_perplexity("b", "one", 20), with_perplexity("c", "two", 10)]
    found = cost_accuracy(reports, metric="perplexity")
    assert [point.run.run_id for point in found.frontier] == ["b"]
    assert [one.reason for one in found.apart] == ["another model: perplexity counts its own tokens"]
    assert len(cost_accuracy(reports, metric="accuracy").points) == 3


def test_another_metric_and_the_metrics_that_can_be_asked_for() -> None:
    found = cost_accuracy([_report("a")], metric="roc_auc")
    assert found.metric == "roc_auc"
    assert found.points[0].run.value == 0.978
    assert found.points[0].usd_per_point is None
    assert "f1_macro" in found.metrics
    assert "perplexity" not in found.metrics


def test_dollars_for_a_point_are_of_the_metric_asked_for() -> None:
    point = cost_accuracy([_report("a")], metric="accuracy").points[0]
    assert point.run.cost_usd is not None
    assert point.run.points is not None
    assert point.usd_per_point == point.run.cost_usd / Decimal(str(point.run.points))
    worse = cost_accuracy([_report("a", final=0.1)]).points[0]
    assert worse.usd_per_point is None


def test_nothing_to_compare() -> None:
    found = cost_accuracy([build_report(make_run(events=()))])
    assert (found.points, found.frontier, len(found.apart)) == ((), (), 1)
