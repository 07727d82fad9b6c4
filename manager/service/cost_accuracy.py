"""Cost against accuracy over runs, and the way of one run from its estimate to its bill, with their words.

The reports themselves come from `manager.service.reporting`; what is said here of them is computed from their values
alone, so that another metric costs no reading.
"""

from __future__ import annotations

from manager.reports.charts import differ_widely
from manager.reports.cost_accuracy import ApartRun, CostAccuracy, CostPoint, cost_accuracy
from manager.reports.model import Gauge, Report
from manager.reports.waterfall import Waterfall, WaterfallStep, waterfall
from manager.reports.wording import (
    PHASE_TITLES,
    beside_sentence,
    gauge_verdict,
    in_sentence,
    in_unit,
    interval_text,
    metric_title,
    metric_value,
    plain,
    source_title,
    stop_sentence,
    summary,
    teardown_text,
    usd_column,
)

__all__ = [
    "ApartRun",
    "CostAccuracy",
    "CostPoint",
    "Gauge",
    "Report",
    "Waterfall",
    "WaterfallStep",
    "beside_sentence",
    "cost_accuracy",
    "differ_widely",
    "gauge_verdict",
    "in_sentence",
    "in_unit",
    "interval_text",
    "metric_title",
    "metric_value",
    "next_metric",
    "phase_title",
    "plain",
    "source_title",
    "stop_sentence",
    "summary",
    "teardown_text",
    "usd_column",
    "waterfall",
]


def next_metric(found: CostAccuracy) -> str:
    """The metric after the one that is shown, of those that the runs were tested for; the same where there is none."""
    if found.metric not in found.metrics:
        return found.metrics[0] if found.metrics else found.metric
    return found.metrics[(found.metrics.index(found.metric) + 1) % len(found.metrics)]


def phase_title(name: str) -> str:
    """A step of a waterfall in words."""
    return PHASE_TITLES.get(name) or plain(name)
