"""Reports of runs: text, JSON, HTML, CSV, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import RenderableType

from manager.errors import StateError, UsageError, how_to_install
from manager.reports.build import build_report
from manager.reports.compare import compare
from manager.reports.cost_accuracy import cost_accuracy
from manager.reports.csv import reports_to_csv
from manager.reports.html import render_html
from manager.reports.json import cost_accuracy_to_json, report_to_json
from manager.reports.model import Report
from manager.reports.svg import FONTS, render_svg
from manager.reports.terminal import comparison_renderable, report_renderable
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.known_names import check_names
from manager.service.starting import write_whole
from manager.spec.schema import Metric

__all__ = [
    "FORMATS",
    "build_reports",
    "check_metric",
    "report_to_json",
    "reports_json",
    "reports_renderable",
    "write_csv",
    "write_html",
    "write_json",
    "write_png",
    "write_report",
    "write_svg",
]

REPORTS_JSON_VERSION = 1
_PNG_ZOOM = 2.0
"""Pixels of a picture for each of its units: sharp on a dense screen."""


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


def check_metric(metric: str | None) -> None:
    """Refuse a name that is no metric of any task.

    Raises:
        UsageError: with the nearest name.
    """
    check_names("metric", () if metric is None else (metric,), set(get_args(Metric)))


def reports_renderable(reports: Sequence[Report], *, metric: str | None = None) -> list[RenderableType]:
    """What a terminal shows: one report, or the comparison of several."""
    if len(reports) == 1:
        return [report_renderable(reports[0])]
    return [comparison_renderable(compare(reports, metric=metric))]


def reports_json(reports: Sequence[Report], *, metric: str | None = None) -> dict[str, Any]:
    """The published form of several reports, schema 1."""
    return {
        "schema": REPORTS_JSON_VERSION,
        "reports": [report_to_json(report) for report in reports],
        "cost_accuracy": cost_accuracy_to_json(cost_accuracy(reports, metric=metric)),
    }


def write_html(reports: Sequence[Report], file: Path, *, metric: str | None = None) -> None:
    """One self-contained page.

    Raises:
        StateError: the file cannot be written.
    """
    several = compare(reports, metric=metric) if len(reports) > 1 else None
    _write(file, render_html(reports, comparison=several))


def write_csv(reports: Sequence[Report], file: Path, *, metric: str | None = None) -> None:
    """One row a run, with the frontier of a metric.

    Raises:
        StateError: the file cannot be written.
    """
    _write(file, reports_to_csv(reports, metric=metric))


def write_json(reports: Sequence[Report], file: Path, *, metric: str | None = None) -> None:
    """What `report --json` prints.

    Raises:
        StateError: the file cannot be written.
    """
    content = reports_json(reports, metric=metric)
    _write(file, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_svg(reports: Sequence[Report], file: Path, *, metric: str | None = None) -> None:
    """One picture: several runs by dollars and metric, one run from its estimate to its bill.

    Raises:
        StateError: the file cannot be written.
    """
    _write(file, render_svg(reports, metric=metric))


def write_png(reports: Sequence[Report], file: Path, *, metric: str | None = None) -> None:
    """The same picture in pixels.

    Raises:
        UsageError: the library that draws it is not installed.
        StateError: the file cannot be written, or this machine has no font to write with.
    """
    _write(file, _pixels(render_svg(reports, metric=metric)))


FORMATS: dict[str, Callable[..., None]] = {
    "html": write_html,
    "csv": write_csv,
    "json": write_json,
    "png": write_png,
    "svg": write_svg,
}
"""Name of a format, which is also the end of its files' names -> what writes it."""


def write_report(kind: str, reports: Sequence[Report], file: Path, *, metric: str | None, replace: bool) -> None:
    """Write reports in one of FORMATS.

    Args:
        kind: name of the format.
        reports: one or more.
        file: where to; folders on the way are made.
        metric: of the comparison; None: that which most of the runs are about.
        replace: whether an existing file may be written over.

    Raises:
        UsageError: there is no such format, its library is missing, or the file exists already.
        StateError: the file cannot be written.
    """
    check_names("format", (kind,), set(FORMATS))
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint=f"name a file in it, such as {file / f'report.{kind}'}")
    if file.exists() and not replace:
        raise UsageError(f"{file} exists already", hint="name another file, or write over it")
    FORMATS[kind](reports, file, metric=metric)


def _pixels(svg: str) -> bytes:
    try:
        # A library with a rasteriser in it, only where a picture is wanted.
        import resvg_py
    except ImportError as error:
        raise UsageError("pictures in pixels need resvg-py", hint=how_to_install("png")) from error
    if not has_font():
        raise StateError("this machine has no font to write with", hint="install one, or write an SVG instead")
    return _draw(resvg_py, svg)


def has_font() -> bool:
    """Whether this machine has a font for pictures in pixels; needs the library that draws them."""
    import resvg_py  # as above

    return _draw(resvg_py, _ONE_LETTER) != _draw(resvg_py, _NO_LETTER)


_NO_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"></svg>'
_ONE_LETTER = _NO_LETTER.replace("></", f'><text y="16" font-family="{FONTS}">A</text></')


def _draw(resvg: Any, svg: str) -> bytes:
    return bytes(resvg.svg_to_bytes(svg_string=svg, zoom=_PNG_ZOOM))


def _write(file: Path, content: str | bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)
    except OSError as error:
        raise StateError(f"{file} cannot be written: {error.strerror}", hint="name a place you can write to") from error
