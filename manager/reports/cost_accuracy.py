"""Cost against accuracy over runs that may be compared; the others stand apart, each with the reason.

Two runs are compared when they did the same task and were tested on the same samples. Metrics that count tokens are
compared between runs of one model only: another one cuts the same text into other tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import get_args

from manager.reports.compare import ComparedRun, Comparison, common_metric, compare, letters, tested_on
from manager.reports.model import Gauge, Report
from manager.spec.schema import Metric

_OF_TOKENS = frozenset({"perplexity", "token_accuracy"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPoint:
    """One run as a point, with what a table beside the chart says of it."""

    mark: str
    """Letters that stand for the run in a chart: A is the cheapest."""
    run: ComparedRun
    usd_per_point: Decimal | None
    """Dollars for each percentage point gained; None when unknown, or when nothing was gained."""
    cost: Gauge | None
    """Estimate beside actual, of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartRun:
    """A run that is not compared with the others."""

    run: ComparedRun
    reason: str
    cost: Gauge | None
    """As in `CostPoint`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAccuracy:
    """The answer."""

    metric: str
    metrics: tuple[str, ...]
    """Those that at least one of the runs was tested for after tuning, in the protocol's order."""
    points: tuple[CostPoint, ...]
    """Cheapest first."""
    apart: tuple[ApartRun, ...]
    """In the order in which they were given."""

    @property
    def frontier(self) -> tuple[CostPoint, ...]:
        """Points that no other one beats, cheapest first."""
        return tuple(point for point in self.points if point.run.on_frontier)

    @property
    def comparison(self) -> Comparison:
        """The points as the charts take them."""
        return Comparison(metric=self.metric, rows=tuple(point.run for point in self.points), same_data=True)

    @property
    def marks(self) -> dict[str, str]:
        """Run id -> letters."""
        return {point.run.run_id: point.mark for point in self.points}


def cost_accuracy(reports: Sequence[Report], *, metric: str | None = None) -> CostAccuracy:
    """Dollars against a test metric, with the Pareto frontier of those runs that may be compared.

    Of several groups of such runs the largest is shown, of equal ones that of the run named first.

    Args:
        reports: the runs.
        metric: None: that which most of the runs are about.
    """
    metric = metric or common_metric(reports)
    alone = {row.run_id: row for row in compare(reports, metric=metric).rows}
    sound = [report for report in reports if alone[report.run_id].excluded is None]
    shown = _largest_group(sound, metric)
    inside = {report.run_id for report in shown}
    by_id = {report.run_id: report for report in shown}
    rows = compare(shown, metric=metric).rows
    return CostAccuracy(
        metric=metric,
        metrics=_metrics(reports),
        points=tuple(
            CostPoint(
                mark=letters(index),
                run=row,
                usd_per_point=_usd_per_point(row),
                cost=by_id[row.run_id].gauge("cost"),
            )
            for index, row in enumerate(rows)
        ),
        apart=tuple(
            ApartRun(
                run=alone[report.run_id],
                reason=alone[report.run_id].excluded or _difference(report, shown[0], metric),
                cost=report.gauge("cost"),
            )
            for report in reports
            if report.run_id not in inside
        ),
    )


def _largest_group(reports: Sequence[Report], metric: str) -> list[Report]:
    groups: dict[Hashable, list[Report]] = {}
    for report in reports:
        groups.setdefault(_kind(report, metric), []).append(report)
    return max(groups.values(), key=len, default=[])


def _kind(report: Report, metric: str) -> Hashable:
    """What two runs must have in common; a run whose data nobody knows has nothing in common with any other."""
    model = report.spec.model.source if metric in _OF_TOKENS else None
    return (report.spec.task, tested_on(report) or report.run_id, model)


def _difference(report: Report, other: Report, metric: str) -> str:
    """Why the run is not compared with the group of another one."""
    if report.spec.task != other.spec.task:
        return f"another task: {report.spec.task}"
    if tested_on(report) is None:
        return "what it was tested on is not known"
    if tested_on(report) != tested_on(other):
        return f"tested on other samples: {report.spec.data.source}"
    return f"another model: {metric} counts its own tokens"


def _metrics(reports: Sequence[Report]) -> tuple[str, ...]:
    tested = {score.metric for report in reports for score in report.scores if score.tuned is not None}
    order = dict.fromkeys([*get_args(Metric), *sorted(tested)])
    return tuple(name for name in order if name in tested)


def _usd_per_point(row: ComparedRun) -> Decimal | None:
    if row.cost_usd is None or row.points is None or row.points <= 0:
        return None
    return row.cost_usd / Decimal(str(row.points))
