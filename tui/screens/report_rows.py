"""What the screen Reports puts into its tables and its chart; values in, text out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from manager.service.cost_accuracy import (
    ApartRun,
    CostAccuracy,
    CostPoint,
    Gauge,
    Report,
    beside_sentence,
    differ_widely,
    gauge_verdict,
    in_sentence,
    interval_text,
    metric_value,
    plain,
    source_title,
    stop_sentence,
    summary,
    teardown_text,
    usd_column,
)
from manager.service.run_list import metric_order
from manager.service.state_words import state_words
from manager.units import format_usd
from tui.widgets.chart import Series
from tui.widgets.table import Column, Row

if TYPE_CHECKING:
    from manager.service.nouns import RunSummary

CHOICE = (
    Column(key="cost", title="cost", is_number=True),
    Column(key="run", title="run", widest=34),
    Column(key="metric", title="metric", cut=1, widest=36),
    Column(key="model", title="model", cut=2, widest=30),
    Column(key="method", title="method", cut=3),
    Column(key="state", title="state", cut=4),
    Column(key="started", title="started (UTC)", cut=5),
)
POINTS = (
    Column(key="mark", title=""),
    Column(key="cost", title="cost", is_number=True),
    Column(key="run", title="run", widest=30),
    Column(key="metric", title="before → after", cut=1, is_number=True),
    Column(key="verdict", title="verdict", cut=2, widest=18),
    Column(key="each", title="$/point", cut=3, is_number=True),
    Column(key="off", title="against estimate", cut=4),
    Column(key="estimate", title="estimate", cut=5, is_number=True),
    Column(key="model", title="model", cut=7, widest=30),
    Column(key="method", title="method", cut=6),
    Column(key="where", title="where", cut=8, widest=24),
)


def choice_row(run: RunSummary) -> Row:
    """One ended run of the list to choose from."""
    metric = ""
    if run.metric is not None and run.metric_after is not None:
        metric = f"{in_sentence(run.metric)} {_change(run.metric, run.metric_before, run.metric_after)}"
    started = datetime.fromtimestamp(run.created_at_s, UTC).strftime("%Y-%m-%d %H:%M")
    return Row(
        key=run.run_id,
        cells=(
            format_usd(run.cost_usd),
            plain(run.run_id),
            metric,
            source_title(run.model or ""),
            plain(run.method or ""),
            state_words(run.state),
            started,
        ),
        sort=(run.cost_usd, run.run_id, metric_order(run), run.model, run.method, str(run.state), run.created_at_s),
        style="" if run.metric_after is not None else "dim",
    )


def point_rows(found: CostAccuracy, reports: Sequence[Report]) -> list[Row]:
    """The compared runs by cost, then those that stand apart."""
    models = {report.run_id: report.spec.model.source for report in reports}
    runs = [*(point.run for point in found.points), *(one.run for one in found.apart)]
    costs = usd_column(run.cost_usd for run in runs)
    rows = [_point_row(point, cost, models, found.marks) for point, cost in zip(found.points, costs, strict=False)]
    return rows + [
        _apart_row(one, cost, models) for one, cost in zip(found.apart, costs[len(found.points) :], strict=True)
    ]


def is_logarithmic(found: CostAccuracy) -> bool:
    """Whether dollars differ so much that a plain axis would put all cheap runs on one spot."""
    return differ_widely([float(point.run.cost_usd or 0) for point in found.points])


def chart_series(found: CostAccuracy) -> list[Series]:
    """The frontier as a line, and each run by its letter; over the logarithm of dollars where they differ widely."""
    is_log = is_logarithmic(found)
    frontier = Series(
        name="frontier: no run is both cheaper and better",
        points=tuple(_place(point, is_log=is_log) for point in found.frontier),
        kind="line",
        colour="accent",
    )
    dots = [
        Series(
            name="",
            points=(_place(point, is_log=is_log),),
            kind="points",
            colour="primary" if point.run.on_frontier else "foreground",
            marker=point.mark,
        )
        for point in found.points
    ]
    return [frontier, *dots] if len(found.frontier) > 1 else dots


def chart_words(found: CostAccuracy) -> str:
    """What the chart says, in a sentence."""
    costs = usd_column(point.run.cost_usd for point in found.frontier)
    told = [
        f"{point.mark} {metric_value(found.metric, point.run.value, 1)} for {cost}"
        for point, cost in zip(found.frontier, costs, strict=True)
    ]
    apart = f"; {len(found.apart)} apart, see the table" if found.apart else ""
    return f"on the frontier: {', '.join(told)}{apart}"


def waterfall_words(report: Report, found: CostAccuracy) -> tuple[str, ...]:
    """Sentences under a waterfall."""
    apart = [f"Apart from the others: {plain(one.reason)}." for one in found.apart if one.run.run_id == report.run_id]
    gauge = report.gauge("cost")
    verdict = [] if gauge is None else [f"Estimate {interval_text(gauge)}: {gauge_verdict(gauge)}."]
    told = (beside_sentence(report), stop_sentence(report))
    gone = f"Machine: {teardown_text(report)}."
    return ("", summary(report), *apart, *verdict, *(words for words in told if words), gone)


def _place(point: CostPoint, *, is_log: bool) -> tuple[float, float]:
    run = point.run
    assert run.cost_usd is not None
    assert run.value is not None
    usd = float(run.cost_usd)
    return math.log10(usd) if is_log else usd, run.value


def _point_row(point: CostPoint, cost: str, models: dict[str, str], marks: dict[str, str]) -> Row:
    run = point.run
    verdict = "frontier" if run.on_frontier else f"beaten by {marks[run.dominated_by or run.run_id]}"
    return Row(
        key=run.run_id,
        cells=(
            point.mark,
            cost,
            plain(run.run_id),
            _change(run.metric, run.baseline, run.value),
            verdict,
            "" if point.usd_per_point is None else format_usd(point.usd_per_point),
            "" if point.cost is None else gauge_verdict(point.cost),
            _estimate(point.cost),
            source_title(models[run.run_id]),
            plain(run.method),
            plain(run.where),
        ),
        sort=(
            point.mark,
            run.cost_usd,
            run.run_id,
            run.value,
            not run.on_frontier,
            point.usd_per_point,
            _ratio(point.cost),
            _expected(point.cost),
            models[run.run_id],
            run.method,
            run.where,
        ),
        style="success" if run.on_frontier else "",
    )


def _apart_row(one: ApartRun, cost: str, models: dict[str, str]) -> Row:
    run = one.run
    return Row(
        key=run.run_id,
        cells=(
            "-",
            cost,
            plain(run.run_id),
            _change(run.metric, run.baseline, run.value),
            plain(one.reason),
            "",
            "" if one.cost is None else gauge_verdict(one.cost),
            _estimate(one.cost),
            source_title(models[run.run_id]),
            plain(run.method),
            plain(run.where),
        ),
        sort=(
            None,
            run.cost_usd,
            run.run_id,
            run.value,
            True,
            None,
            _ratio(one.cost),
            _expected(one.cost),
            models[run.run_id],
            run.method,
            run.where,
        ),
        style="dim",
    )


def _change(metric: str, before: float | None, after: float | None) -> str:
    if before is None and after is None:
        return ""
    return f"{metric_value(metric, before, 1)} → {metric_value(metric, after, 1)}"


def _estimate(gauge: Gauge | None) -> str:
    """Expected and interval."""
    if gauge is None or gauge.expected is None:
        return "not estimated"
    return f"{format_usd(Decimal(str(gauge.expected)))} ({interval_text(gauge)})"


def _ratio(gauge: Gauge | None) -> float | None:
    return None if gauge is None or not gauge.comparable else gauge.ratio


def _expected(gauge: Gauge | None) -> float | None:
    return None if gauge is None else gauge.expected
