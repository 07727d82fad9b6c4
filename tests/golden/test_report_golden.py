"""Published forms of a report; run with TUNEFARE_UPDATE_GOLDEN=1 to write them anew, then read the difference."""

from __future__ import annotations

import json
import os
from pathlib import Path

from manager.reports.build import build_report
from manager.reports.compare import compare
from manager.reports.cost_accuracy import cost_accuracy
from manager.reports.csv import reports_to_csv
from manager.reports.json import cost_accuracy_to_json, report_to_json
from manager.reports.terminal import render_comparison, render_report
from tests.support.report_factory import make_run

_FOLDER = Path(__file__).parent / "report"


def _check(name: str, text: str) -> None:
    path = _FOLDER / name
    if os.environ.get("TUNEFARE_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_terminal_at_80_columns() -> None:
    _check("report_80.txt", render_report(build_report(make_run()), width=80))


def test_comparison_at_80_columns() -> None:
    reports = [build_report(make_run(run_id="a")), build_report(make_run(run_id="b", price="3", final=0.9712))]
    _check("comparison_80.txt", render_comparison(compare(reports), width=80))


def test_json() -> None:
    document = report_to_json(build_report(make_run()))
    for name in ("losses", "evaluations", "charges"):
        document[name] = document[name][:2]
    _check("report.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def test_cost_accuracy_json() -> None:
    document = cost_accuracy_to_json(cost_accuracy([build_report(make_run())]))
    _check("cost_accuracy.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def test_csv() -> None:
    reports = [build_report(make_run()), build_report(make_run(run_id="b", price=None, events=()))]
    _check("reports.csv", reports_to_csv(reports))
