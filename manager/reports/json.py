"""Reports as JSON values; a published format, schema 1: units in the names, null where unknown, Unix times in seconds.

Money is a number with all its digits (a millionth of a dollar fits a double exactly enough to be read back).
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from manager.reports.compare import ComparedRun
from manager.reports.cost_accuracy import CostAccuracy
from manager.reports.model import REPORT_VERSION, Gauge, Report
from manager.reports.waterfall import Waterfall, waterfall
from manager.units import SECONDS_PER_HOUR


def report_to_json(report: Report) -> dict[str, Any]:
    """One report, JSON values only."""
    return {
        "schema": REPORT_VERSION,
        "run_id": report.run_id,
        "plan_id": report.plan_id,
        "state": str(report.state),
        "outcome": _plain(report.outcome),
        "created_at_s": report.created_at_s,
        "spec": _plain(report.spec),
        "machine": _plain(report.machine),
        "data": _plain(report.data),
        "parameters": report.parameters,
        "trainable_parameters": report.trainable_parameters,
        "steps": {"done": report.steps_done, "planned": report.steps_planned},
        "scores": {
            score.metric: {"baseline": score.baseline, "tuned": score.tuned, "points": score.points}
            for score in report.scores
        },
        "classes": _plain(report.classes),
        "confusion_matrix": _plain(report.confusion),
        "best": _plain(report.best),
        "losses": _plain(report.losses),
        "evaluations": _plain(report.evaluations),
        "earlier_stops": _plain(report.earlier_stops),
        "price_usd_per_hour": _plain(report.price_usd_per_hour),
        "cost_usd": _plain(report.cost_usd),
        "cost_per_point_usd": _plain(report.cost_per_point_usd),
        "hours": None if report.billed_s is None else report.billed_s / SECONDS_PER_HOUR,
        "still_billing": report.still_billing,
        "cap_usd": _plain(report.cap_usd),
        "tokens_per_s": report.tokens_per_s,
        "estimates": {gauge.name: _gauge(gauge) for gauge in report.gauges},
        "phases": _plain(report.phases),
        "planned_beside": _plain(report.planned_beside),
        "waterfall": _waterfall(waterfall(report)),
        "clock": report.clock,
        "charges": _plain(report.charges),
        "failed_attempts": list(report.failed_attempts),
        "evidence": _plain(report.evidence),
        "teardown_confirmed": report.teardown_confirmed,
        "history": _plain(report.history),
        "warnings": _plain(report.warnings),
        "failure": _plain(report.failure),
    }


def cost_accuracy_to_json(found: CostAccuracy) -> dict[str, Any]:
    """Cost against one metric over the runs that may be compared, JSON values only."""
    return {
        "metric": found.metric,
        "metrics": list(found.metrics),
        "runs": [
            {"mark": point.mark, **_compared(point.run), "usd_per_point": _plain(point.usd_per_point)}
            for point in found.points
        ],
        "apart": [{"run_id": one.run.run_id, "reason": one.reason} for one in found.apart],
        "frontier": [point.run.run_id for point in found.frontier],
    }


def _compared(row: ComparedRun) -> dict[str, Any]:
    return {**_plain(row), "points": row.points}


def _waterfall(found: Waterfall) -> dict[str, Any]:
    return {
        "planned_usd": _plain(found.planned_usd),
        "actual_usd": _plain(found.actual_usd),
        "comparable": found.comparable,
        "steps": [{**_plain(step), "change_usd": _plain(step.change_usd)} for step in found.steps],
    }


def _gauge(gauge: Gauge) -> dict[str, Any]:
    return {
        "unit": gauge.unit,
        "low": gauge.low,
        "expected": gauge.expected,
        "high": gauge.high,
        "actual": gauge.actual,
        "ratio": gauge.ratio,
        "inside": gauge.inside,
        "comparable": gauge.comparable,
    }


def _plain(value: Any) -> Any:
    """A value of the report as JSON knows it; dataclasses by their fields."""
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
