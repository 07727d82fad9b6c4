"""CSV and JSON: published names, unknown is empty or null, formulas stay text."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import get_args

import pytest

from manager.reports.build import build_report
from manager.reports.cost_accuracy import cost_accuracy
from manager.reports.csv import reports_to_csv
from manager.reports.json import cost_accuracy_to_json, report_to_json
from manager.reports.wording import METRIC_TITLES
from manager.spec.schema import Metric
from tasks.kinds import CLASSIFICATION_METRICS, LANGUAGE_METRICS
from tests.support.report_factory import make_run, make_spec

METRICS = (*CLASSIFICATION_METRICS, *LANGUAGE_METRICS)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_one_row_a_run_with_full_digits() -> None:
    rows = _rows(reports_to_csv([build_report(make_run()), build_report(make_run(run_id="b", price="3"))]))
    assert [row["run_id"] for row in rows] == ["bbc-news-minilm-0921-1433", "b"]
    assert rows[0]["cost_usd"] == "0.181528"
    assert float(rows[0]["hours"]) == pytest.approx(812 / 3600)
    assert rows[0]["accuracy"] == "0.9686"
    assert [row["on_frontier"] for row in rows] == ["true", "false"]


def test_unknown_is_an_empty_cell() -> None:
    row = _rows(reports_to_csv([build_report(make_run(price=None, events=()))]))[0]
    assert row["cost_usd"] == row["price_usd_per_hour"] == row["accuracy"] == row["best_step"] == ""


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1"])
def test_text_that_looks_like_a_formula_is_escaped(name: str) -> None:
    row = _rows(reports_to_csv([build_report(make_run(spec=make_spec(model=name)))]))[0]
    assert row["model"] == "'" + name


def test_no_reports_no_lines() -> None:
    assert reports_to_csv([]) == ""


def test_json_is_json_and_keeps_all_digits() -> None:
    report = build_report(make_run())
    document = json.loads(json.dumps(report_to_json(report), allow_nan=False))
    assert Decimal(str(document["cost_usd"])) == report.cost_usd
    assert document["scores"]["roc_auc"]["baseline"] is None
    assert document["estimates"]["cost"]["inside"] is True
    assert sum(charge["amount_usd"] for charge in document["charges"]) == pytest.approx(document["cost_usd"])


def test_comparison_lists_its_frontier() -> None:
    document = cost_accuracy_to_json(cost_accuracy([build_report(make_run())]))
    assert document["frontier"] == ["bbc-news-minilm-0921-1433"]
    assert document["runs"][0]["points"] == 77.76


def test_every_list_of_metrics_is_that_of_the_training_program() -> None:
    assert get_args(Metric) == METRICS
    assert tuple(METRIC_TITLES) == METRICS
    header = reports_to_csv([build_report(make_run())]).splitlines()[0].split(",")
    assert [name for name in header if name in METRICS] == list(METRICS)
