"""Several runs beside each other: what each cost, what it achieved, and which ones no other run beats.

A run is dominated when another one is at least as good on both axes and better on one (Pareto dominance).
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.reports.model import Report
from manager.runs.states import RunState
from tasks.kinds import UNBOUNDED, is_better


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One run as a point: dollars against a metric."""

    run_id: str
    name: str
    model: str
    method: str
    where: str
    """Cloud and accelerator, or the engine before a launch."""
    state: RunState
    cost_usd: Decimal | None
    hours: float | None
    """Billed hours."""
    metric: str
    """What baseline and value are."""
    baseline: float | None
    value: float | None
    """The metric on the test split after tuning."""
    on_frontier: bool
    dominated_by: str | None
    """Run id of the cheapest run that beats it on both axes; None on the frontier or when it cannot be compared."""
    excluded: str | None
    """Why it takes no part: `no cost`, `no final accuracy`; None when it does."""

    @property
    def points(self) -> float | None:
        """Percentage points gained over the untouched model; None too for perplexity, which is no percentage."""
        if self.value is None or self.baseline is None or self.metric in UNBOUNDED:
            return None
        return round(100 * (self.value - self.baseline), 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs by cost, cheapest first; those without a cost last."""

    metric: str
    rows: tuple[ComparedRun, ...]
    same_data: bool | None
    """Whether all runs were tested on the same data and split; None when one of them did not say."""

    @property
    def frontier(self) -> tuple[ComparedRun, ...]:
        """Runs that no other one beats, cheapest first."""
        return tuple(row for row in self.rows if row.on_frontier)


def compare(reports: Sequence[Report], *, metric: str | None = None) -> Comparison:
    """Dollars against a test metric over runs, with the Pareto frontier (low dollars, good metric).

    Args:
        reports: the runs.
        metric: None: that which most of the runs are about; runs without it take no part.
    """
    metric = metric or common_metric(reports)
    points = [
        (report.run_id, report.cost_usd, value)
        for report in reports
        if (value := _value(report, metric)) is not None and report.cost_usd is not None and _excluded(report) is None
    ]
    rows = [_row(report, metric, points) for report in reports]
    rows.sort(key=lambda row: (row.cost_usd is None, row.cost_usd or Decimal(0), row.run_id))
    return Comparison(metric=metric, rows=tuple(rows), same_data=_same_data(reports))


def where(report: Report) -> str:
    """Cloud and accelerator in a few words."""
    offer = report.machine.offer
    return report.machine.engine if offer is None else offer.short_name


def common_metric(reports: Sequence[Report]) -> str:
    """The metric that most of the runs are about."""
    metrics = Counter(report.headline_metric for report in reports)
    return metrics.most_common(1)[0][0] if metrics else "accuracy"


def tested_on(report: Report) -> Hashable | None:
    """What the test samples are known by: equal for two runs that were tested on the same; None: not known."""
    if report.data is None or report.data.sha256 is None or report.data.test_samples is None:
        return None
    split = report.spec.data.test
    drawn_with = report.spec.training.seed if isinstance(split, float) else None
    return (report.data.sha256, report.data.test_samples, split, drawn_with)


def letters(index: int) -> str:
    """What stands for a run in a chart: A to Z, then AA, AB ..."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = string.ascii_uppercase[rest] + name
    return name


def _row(report: Report, metric: str, points: Iterable[tuple[str, Decimal, float]]) -> ComparedRun:
    score = report.score(metric)
    cost, value = report.cost_usd, _value(report, metric)
    missing = _excluded(report) or ("no cost" if cost is None else f"no final {metric}" if value is None else None)
    beaten = None
    if missing is None and cost is not None and value is not None:
        better = [
            (other_cost, run_id)
            for run_id, other_cost, other in points
            if other_cost <= cost
            and not is_better(metric, value, other)
            and (other_cost < cost or is_better(metric, other, value))
        ]
        beaten = min(better)[1] if better else None
    return ComparedRun(
        run_id=report.run_id,
        name=report.spec.name,
        model=report.spec.model.source,
        method=report.spec.method.kind,
        where=where(report),
        state=report.state,
        cost_usd=cost,
        hours=None if report.billed_s is None else report.billed_s / 3600,
        metric=metric,
        baseline=score.baseline if score else None,
        value=value,
        on_frontier=missing is None and beaten is None,
        dominated_by=beaten,
        excluded=missing,
    )


def _excluded(report: Report) -> str | None:
    return "still billed" if report.still_billing else None


def _value(report: Report, metric: str) -> float | None:
    score = report.score(metric)
    return score.tuned if score else None


def _same_data(reports: Sequence[Report]) -> bool | None:
    seen = {tested_on(report) for report in reports}
    return None if None in seen else len(seen) <= 1
