"""Reports of language models speak of perplexity and invent no accuracy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from manager.reports.build import build_report
from manager.reports.compare import compare
from manager.reports.csv import reports_to_csv
from manager.reports.html import render_html
from manager.reports.model import Report
from manager.reports.terminal import render_comparison, render_report
from manager.reports.wording import metric_value, summary
from manager.runs.records import RunEvents
from tasks.protocol import Event, EventType
from tests.support.report_factory import make_events, make_run, make_spec


def _events(*, tuned: float) -> tuple[Event, ...]:
    """The usual run with a language model's metrics: the loss of an event becomes its perplexity."""
    found = []
    for event in make_events():
        data = dict(event.data)
        if event.type is EventType.EVALUATION:
            perplexity = tuned if data["stage"] == "final" else 40.0 if data["stage"] == "baseline" else None
            perplexity = perplexity or math.exp(data["loss"])
            data |= {
                "metrics": {"perplexity": perplexity, "token_accuracy": 0.5 if data["stage"] == "final" else 0.25},
                "per_class": {},
                "confusion_matrix": None,
            }
        if event.type is EventType.DATA:
            data |= {"labels": [], "label_counts": {}}
        if event.type is EventType.FINISHED:
            data["best"] = {"metric": "perplexity", "value": 1.2, "step": 140}
        found.append(replace(event, data=data))
    return tuple(found)


def _run(*, tuned: float = 12.5, run_id: str = "lm-1", price: str = "0.8048") -> RunEvents:
    usual = make_spec()
    spec = replace(usual, task="causal-lm", training=replace(usual.training, metric="perplexity"))
    return make_run(spec=spec, events=_events(tuned=tuned), run_id=run_id, price=price)


@pytest.fixture
def report() -> Report:
    return build_report(_run())


def test_the_summary_is_about_perplexity(report: Report) -> None:
    assert summary(report).startswith("Perplexity fell from 40.00 to 12.50 for $")
    assert summary(build_report(_run(tuned=50.0))).startswith("Perplexity rose from 40.00 to 50.00 for $")
    assert summary(build_report(_run(tuned=40.0))).startswith("Perplexity stayed at 40.00 for $")


def test_no_accuracy_is_invented(report: Report) -> None:
    assert [score.metric for score in report.scores] == ["perplexity", "token_accuracy"]
    assert report.score("accuracy") is None
    assert (report.cost_per_point_usd, report.classes, report.confusion, report.earlier_stops) == (None, (), None, ())
    assert report.scores[0].points is None
    assert report.scores[1].points == 25.0
    text = render_report(report)
    assert "Accuracy" not in text
    assert "Perplexity" in text
    assert "1250" not in text
    page = render_html([report])
    assert "Perplexity on the test set" in page
    assert "Accuracy on the test set" not in page
    assert "1250.00%" not in page


def test_the_best_step_is_the_lowest_perplexity() -> None:
    run = _run()
    unfinished = replace(run, events=tuple(e for e in run.events if e.type is not EventType.FINISHED))
    best = build_report(unfinished).best
    assert best is not None
    values = [e.data["metrics"]["perplexity"] for e in run.events if e.data.get("stage") == "interval"]
    assert best.value == min(values) < max(values)


def test_runs_are_compared_by_lower_perplexity() -> None:
    good, worse = build_report(_run(tuned=10.0, run_id="good")), build_report(_run(tuned=20.0, run_id="worse"))
    found = compare([good, worse])
    assert found.metric == "perplexity"
    assert {row.run_id: row.dominated_by for row in found.rows} == {"good": None, "worse": "good"}
    assert all(row.points is None for row in found.rows)
    assert "10.00" in render_comparison(found)
    mixed = compare([good, build_report(make_run(run_id="text")), build_report(make_run(run_id="more"))])
    assert mixed.metric == "accuracy"
    assert next(row for row in mixed.rows if row.run_id == "good").excluded == "no final accuracy"


def test_tables_have_columns_for_both_kinds(report: Report) -> None:
    header, row = (line.split(",") for line in reports_to_csv([report]).splitlines()[:2])
    cells = dict(zip(header, row, strict=False))
    assert (cells["perplexity"], cells["accuracy"]) == ("12.5", "")


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.96857, "96.86%"),
        ("perplexity", 12.345, "12.35"),
        ("perplexity", 32000.4, "32,000"),
        ("perplexity", None, "\N{EN DASH}"),
        ("token_accuracy", 0.5, "50.00%"),
    ],
)
def test_a_metric_as_text(metric: str, value: float | None, text: str) -> None:
    assert metric_value(metric, value) == text
