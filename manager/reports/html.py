"""A report as one HTML file: no network, no script, safe with names from strangers, fit for a screen and for paper.

Everything is escaped by Jinja (autoescape), and a content security policy forbids whatever is not the page's own style
sheet, named by its hash: should something slip through, a browser would neither run nor load nor even style it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment
from markupsafe import Markup

from manager import units
from manager.reports import charts, figures, wording
from manager.reports.charts import Chart
from manager.reports.compare import Comparison, compare, letters, where
from manager.reports.model import Gauge, PhaseShare, Report
from manager.reports.templating import template_environment

_MOST_CLASSES_IN_MATRIX = 20
_MOST_CONFUSIONS = 20
_HEAT_LEVELS = 10
_WORK = {"training": "train", "baseline": "test", "evaluation": "test", "final": "test"}
"""Phase -> colour group; all others are what it takes to get there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The charts over one horizontal axis."""

    axis: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeBar:
    """An estimate drawn on a scale from 0; positions in percent of the width."""

    gauge: Gauge
    low: float | None
    high: float | None
    expected: float | None
    actual: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBar:
    """A phase with its place on a bar over the billed time, in percent."""

    phase: PhaseShare
    group: str
    start: float
    width: float
    cost: str
    estimated_cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """A cell of the confusion matrix."""

    count: int
    level: int
    """0 to 10: share of the true class."""
    correct: bool


def render_html(reports: Sequence[Report], *, comparison: Comparison | None = None) -> str:
    """One self-contained page with all the reports, and their comparison when there are several.

    Args:
        reports: one or more; shown in this order.
        comparison: of these reports; made here when there are several and none is given.

    Raises:
        ValueError: there is no report.
    """
    if not reports:
        raise ValueError("a page needs at least one report")
    if comparison is None and len(reports) > 1:
        comparison = compare(reports)
    environment = _environment()
    style = environment.loader.get_source(environment, "report.css")[0] if environment.loader else ""
    marks = {row.run_id: letters(i) for i, row in enumerate(comparison.rows)} if comparison else {}
    return environment.get_template("report.html.j2").render(
        reports=reports,
        comparison=comparison,
        marks=marks,
        scatter=figures.comparison_chart(comparison, marks) if comparison else None,
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def curves(report: Report) -> tuple[Curves, ...]:
    """The charts of a run for each horizontal axis that it can have."""
    found = []
    for axis in figures.axes(report):
        drawn = (figures.loss_chart(report, axis), figures.metric_chart(report, axis))
        kept = tuple(chart for chart in drawn if chart is not None)
        if kept:
            found.append(Curves(axis=axis, charts=kept))
    return tuple(found)


def gauge_bars(report: Report) -> list[GaugeBar]:
    """Estimates that can be drawn, each on its own scale."""
    bars = []
    for gauge in report.gauges:
        known = [v for v in (gauge.low, gauge.expected, gauge.high, gauge.actual) if v is not None]
        if not known or max(known) <= 0:
            continue
        scale = 92 / max(known)
        low, high, expected, actual = (
            None if value is None else round(value * scale, 2)
            for value in (gauge.low, gauge.high, gauge.expected, gauge.actual)
        )
        bars.append(GaugeBar(gauge=gauge, low=low, high=high, expected=expected, actual=actual))
    return bars


def phase_bars(report: Report) -> list[PhaseBar]:
    """The billed time from left to right."""
    total = sum(phase.duration_s for phase in report.phases)
    costs = wording.usd_column([p.cost_usd for p in report.phases] + [p.estimated_usd for p in report.phases])
    bars, start = [], 0.0
    for i, phase in enumerate(report.phases):
        width = 100 * phase.duration_s / total if total else 0.0
        bars.append(
            PhaseBar(
                phase=phase,
                group=_WORK.get(phase.name, "around"),
                start=round(start, 3),
                width=round(width, 3),
                cost=costs[i],
                estimated_cost=wording.UNDEFINED if phase.estimated_usd is None else costs[len(report.phases) + i],
            )
        )
        start += width
    return bars


def training_share(report: Report) -> str | None:
    """`32%` of the billed time that went into optimizer steps, or None before training."""
    total = sum(phase.duration_s for phase in report.phases)
    steps = sum(phase.duration_s for phase in report.phases if phase.name == "training")
    return f"{100 * steps / total:.0f}%" if total and steps else None


def heat(report: Report) -> list[tuple[str, list[HeatCell]]]:
    """Rows of the confusion matrix; empty when there is none or it is too large to be read as one."""
    matrix = report.confusion
    if matrix is None or len(matrix.labels) > _MOST_CLASSES_IN_MATRIX:
        return []
    rows = []
    for i, (label, counts) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        total = sum(counts)
        cells = [HeatCell(count=n, level=_level(n, total), correct=i == j) for j, n in enumerate(counts)]
        rows.append((label, cells))
    return rows


def confusions(report: Report) -> list[tuple[str, str, int]]:
    """True label, predicted label, count of the most frequent errors, for matrices too large to be shown."""
    matrix = report.confusion
    if matrix is None or len(matrix.labels) <= _MOST_CLASSES_IN_MATRIX:
        return []
    found = [
        (matrix.labels[i], matrix.labels[j], count)
        for i, row in enumerate(matrix.counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[0], entry[1]))[:_MOST_CONFUSIONS]


@cache
def _environment() -> Environment:
    return template_environment(
        w=wording,
        u=units,
        size=charts,
        where=where,
        curves=curves,
        gauge_bars=gauge_bars,
        phase_bars=phase_bars,
        training_share=training_share,
        heat=heat,
        confusions=confusions,
    )


def _level(count: int, total: int) -> int:
    """0 for nothing, at least 1 for anything, 10 for all."""
    return max(1, round(_HEAT_LEVELS * count / total)) if count and total else 0
