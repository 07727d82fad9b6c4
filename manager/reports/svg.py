"""Reports as one picture that stands alone: several runs by dollars and metric, one run from its estimate to its bill.

Everything is placed here; the template only writes it down. Colours are fixed, for a white page, and nothing is told
by colour alone. Text is cut to its column: a picture has no line breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from jinja2 import Environment

from manager.reports import charts, figures, wording
from manager.reports.compare import where
from manager.reports.cost_accuracy import CostAccuracy, CostPoint, cost_accuracy
from manager.reports.model import Report
from manager.reports.templating import template_environment
from manager.reports.waterfall import Waterfall, waterfall

WIDTH = 640
FONTS = "Inter, Arial, Liberation Sans, DejaVu Sans, Noto Sans, sans-serif"
"""Families to write with, the first that a machine has: rasterisers look for no other."""
_MARGIN, _LINE, _TITLE = 20, 19, 58
_BAR_FROM, _BAR_TO = 170.0, 430.0
_LEAST_BAR = 1.0
"""Of a change that would not be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One text."""

    x: float
    y: float
    text: str
    kind: str = ""
    """CSS classes: `end` stands to the left of x, `soft`, `strong`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of the waterfall."""

    x: float
    y: float
    width: float
    kind: str
    """CSS class: `total`, `dearer` or `cheaper`."""


def render_svg(reports: Sequence[Report], *, metric: str | None = None) -> str:
    """One SVG file: the comparison of several reports, or the waterfall of one.

    Args:
        reports: one or more.
        metric: of the comparison; None: that which most of the runs are about.

    Raises:
        ValueError: there is no report.
    """
    if not reports:
        raise ValueError("a picture needs at least one report")
    if len(reports) == 1:
        return _one(reports[0])
    return _several(cost_accuracy(reports, metric=metric))


def _several(found: CostAccuracy) -> str:
    chart = figures.comparison_chart(found.comparison, found.marks)
    top = _TITLE + (charts.HEIGHT if chart else 0) + 24
    costs = wording.usd_column(point.run.cost_usd for point in found.points)
    rows = enumerate(zip(found.points, costs, strict=True))
    cells = [cell for row, (point, cost) in rows for cell in _point(point, cost, top + _LINE * row)]
    bottom = top + _LINE * len(found.points)
    for row, one in enumerate(found.apart):
        y = bottom + _LINE * row
        cells += [Cell(x=_MARGIN, y=y, text="-", kind="soft"), Cell(x=44, y=y, text=_cut(one.run.run_id, 34))]
        cells.append(Cell(x=290, y=y, text=_cut(f"apart: {one.reason}", 48), kind="soft"))
    return _written(
        title=f"Cost against {wording.in_sentence(found.metric)}",
        lede="A dashed line joins the runs that no other run beats: none is both cheaper and better.",
        chart=chart,
        cells=cells,
        bars=(),
        height=bottom + _LINE * len(found.apart),
    )


def _point(point: CostPoint, cost: str, y: float) -> list[Cell]:
    run = point.run
    before = "" if run.baseline is None else f"{wording.metric_value(run.metric, run.baseline, 1)} → "
    return [
        Cell(x=_MARGIN, y=y, text=point.mark, kind="strong"),
        Cell(x=44, y=y, text=_cut(run.run_id, 34)),
        Cell(x=290, y=y, text=_cut(run.where, 22), kind="soft"),
        Cell(x=530, y=y, text=f"{before}{wording.metric_value(run.metric, run.value, 1)}", kind="end"),
        Cell(x=WIDTH - _MARGIN, y=y, text=cost, kind="end strong"),
    ]


def _one(report: Report) -> str:
    found = waterfall(report)
    lede = f"{wording.source_title(report.spec.model.source)} on {wording.source_title(report.spec.data.source)}"
    cells, bars = _steps(found, _TITLE + 30)
    notes = [wording.summary(report), *_notes(report, found)]
    bottom = _TITLE + 30 + _LINE * (len(found.seen_steps) + 2) + 12
    cells += [Cell(x=_MARGIN, y=bottom + _LINE * row, text=_cut(note, 92)) for row, note in enumerate(notes)]
    return _written(
        title=f"From the estimate to the bill: {_cut(report.run_id, 40)}",
        lede=_cut(f"{lede}, {where(report)}", 92),
        chart=None,
        cells=cells,
        bars=tuple(bars),
        height=bottom + _LINE * len(notes),
    )


def _notes(report: Report, found: Waterfall) -> list[str]:
    if found.planned_usd is None:
        return ["The machine was not estimated in dollars."]
    if not found.comparable:
        return ["The run did not come to its planned end: the bill is no test of the estimate."]
    return [told] if (told := wording.beside_sentence(report)) else []


def _steps(found: Waterfall, y: float) -> tuple[list[Cell], list[Bar]]:
    """A row for the estimate, each phase and the bill; bars only where all levels are known."""
    levels = [value for step in found.seen_steps if (value := step.level_usd) is not None]
    ends = [value for value in (found.planned_usd, found.actual_usd) if value is not None]
    highest = max([*levels, *ends], default=Decimal(0))
    scale = (_BAR_TO - _BAR_FROM) / float(highest) if highest > 0 else 0.0
    money = [found.planned_usd, found.actual_usd]
    money += [usd for step in found.seen_steps for usd in (step.planned_usd, step.actual_usd)]
    texts = iter(wording.usd_column(money))
    planned_text, actual_text = next(texts), next(texts)
    cells = [*_heads(y - _LINE), *_row(y, "Estimate", planned_text, "", "strong")]
    bars = [_total(found.planned_usd, y, scale)]
    before = found.planned_usd
    for number, step in enumerate(found.seen_steps, start=1):
        at = y + _LINE * number
        cells += _row(at, wording.PHASE_TITLES.get(step.name, step.name), next(texts), next(texts), "")
        if before is not None and step.level_usd is not None:
            bars.append(_change(before, step.level_usd, at, scale))
        before = step.level_usd
    last = y + _LINE * (len(found.seen_steps) + 1)
    cells += _row(last, "Bill", "", actual_text, "strong")
    bars.append(_total(found.actual_usd, last, scale))
    return cells, [bar for bar in bars if bar is not None]


def _heads(y: float) -> list[Cell]:
    return [
        Cell(x=520, y=y, text="estimated", kind="end soft"),
        Cell(x=WIDTH - _MARGIN, y=y, text="billed", kind="end soft"),
    ]


def _row(y: float, name: str, planned: str, actual: str, kind: str) -> list[Cell]:
    return [
        Cell(x=_MARGIN, y=y, text=_cut(name, 24), kind=kind),
        Cell(x=520, y=y, text=planned, kind=f"end {kind}"),
        Cell(x=WIDTH - _MARGIN, y=y, text=actual, kind=f"end {kind}"),
    ]


def _total(usd: Decimal | None, y: float, scale: float) -> Bar | None:
    return None if usd is None else Bar(x=_BAR_FROM, y=y - 11, width=round(float(usd) * scale, 2), kind="total")


def _change(before: Decimal, after: Decimal, y: float, scale: float) -> Bar:
    start, end = float(min(before, after)) * scale, float(max(before, after)) * scale
    return Bar(
        x=round(_BAR_FROM + start, 2),
        y=y - 11,
        width=round(max(end - start, _LEAST_BAR), 2),
        kind="dearer" if after > before else "cheaper",
    )


def _written(
    *, title: str, lede: str, chart: charts.Chart | None, cells: Sequence[Cell], bars: Sequence[Bar], height: float
) -> str:
    return (
        _environment()
        .get_template("figure.svg.j2")
        .render(title=title, lede=lede, chart=chart, cells=cells, bars=bars, width=WIDTH, height=height, top=_TITLE)
    )


def _cut(text: str, most: int) -> str:
    shown = wording.plain(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


@cache
def _environment() -> Environment:
    return template_environment(size=charts, fonts=FONTS)
