"""Reports of runs: text, JSON, HTML, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from manager.errors import StateError, UsageError
from manager.reports.build import build_report
from manager.reports.compare import compare
from manager.reports.csv import reports_to_csv
from manager.reports.html import render_html
from manager.reports.json import report_to_json
from manager.reports.model import Report
from manager.reports.terminal import comparison_renderable, report_renderable
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.starting import write_whole

__all__ = ["build_reports", "report_to_json", "reports_json", "reports_renderable", "write_csv", "write_html"]

REPORTS_JSON_VERSION = 1


def build_reports(context: Context, runs: Sequence[str]) -> list[Report]:
    """Reports of the named runs (ids or unique beginnings), in their order; of the latest run when none is named.

    Raises:
        UsageError: no such run, or no run at all.
    """
    with open_ledger(context) as ledger:
        names = list(runs)
        if not names:
            known = ledger.runs()
            if not known:
                raise UsageError("there is no run to report on", hint="start one with `tunefare run`")
            names = [known[0].run_id]
        return [build_report(ledger.run_events(name)) for name in names]


def reports_renderable(reports: Sequence[Report]) -> list[RenderableType]:
    """What a terminal shows: one report, or the comparison of several."""
    return [report_renderable(reports[0])] if len(reports) == 1 else [comparison_renderable(compare(reports))]


def reports_json(reports: Sequence[Report]) -> dict[str, Any]:
    """The published form of several reports, schema 1."""
    return {"schema": REPORTS_JSON_VERSION, "reports": [report_to_json(report) for report in reports]}


def write_html(reports: Sequence[Report], file: Path) -> None:
    """One self-contained page.

    Raises:
        StateError: the file cannot be written.
    """
    _write(file, render_html(reports))


def write_csv(reports: Sequence[Report], file: Path) -> None:
    """One row a run.

    Raises:
        StateError: the file cannot be written.
    """
    _write(file, reports_to_csv(reports))


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    except OSError as error:
        raise StateError(f"{file} cannot be written: {error.strerror}", hint="name a place you can write to") from error
