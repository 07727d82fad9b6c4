"""Reports as a table, one row a run; a published format: units in the names, an empty cell where unknown.

Text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import get_args

from manager.reports.compare import compare
from manager.reports.model import Gauge, Report
from manager.spec.schema import Metric
from manager.units import SECONDS_PER_HOUR

Cell = str | int | float | Decimal | bool | None

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def reports_to_csv(reports: Iterable[Report], *, metric: str | None = None) -> str:
    """All reports as CSV with a header line, lines ended by a line feed.

    Args:
        reports: the runs.
        metric: of `on_frontier`; None: that which most of the runs are about.
    """
    shown = list(reports)
    frontier = {row.run_id: row.on_frontier for row in compare(shown, metric=metric).rows}
    rows = [{**_row(report), "on_frontier": frontier[report.run_id]} for report in shown]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _row(report: Report) -> dict[str, Cell]:
    return {**_run(report), **_money(report), **_quality(report)}


def _run(report: Report) -> dict[str, Cell]:
    offer, spec = report.machine.offer, report.spec
    return {
        "run_id": report.run_id,
        "plan_id": report.plan_id,
        "created_at_s": report.created_at_s,
        "state": str(report.state),
        "outcome": None if report.outcome is None else str(report.outcome),
        "name": spec.name,
        "task": spec.task,
        "model": spec.model.source,
        "data": spec.data.source,
        "data_sha256": report.data.sha256 if report.data else None,
        "method": spec.method.kind,
        "precision": spec.training.precision,
        "epochs": spec.training.epochs,
        "batch_size": spec.training.batch_size,
        "learning_rate": spec.training.learning_rate,
        "max_length_tokens": spec.training.max_length,
        "seed": spec.training.seed,
        "steps": report.steps_done,
        "steps_planned": report.steps_planned,
        "engine": report.machine.engine,
        "cloud": offer.cloud if offer else None,
        "region": offer.region if offer else None,
        "instance_type": offer.instance_type if offer else None,
        "accelerator": offer.accelerator if offer else None,
        "accelerator_count": offer.accelerator_count if offer else None,
        "num_nodes": offer.num_nodes if offer else None,
        "use_spot": offer.use_spot if offer else None,
    }


def _money(report: Report) -> dict[str, Cell]:
    offer = report.machine.offer
    training, memory = report.gauge("training_hours"), report.gauge("peak_memory")
    return {
        "price_usd_per_hour": report.price_usd_per_hour,
        "price_source": offer.price_source if offer else None,
        "cost_usd": report.cost_usd,
        **_estimate("cost_usd", report.gauge("cost")),
        "hours": None if report.billed_s is None else report.billed_s / SECONDS_PER_HOUR,
        **_estimate("hours", report.gauge("hours")),
        "training_hours": training.actual if training else None,
        **_estimate("training_hours", training),
        "peak_memory_bytes": memory.actual if memory else None,
        "estimated_peak_memory_bytes": memory.expected if memory else None,
        "tokens_per_s": report.tokens_per_s,
        "cap_usd": report.cap_usd,
        "teardown_confirmed": report.teardown_confirmed,
    }


def _estimate(name: str, gauge: Gauge | None) -> dict[str, Cell]:
    return {
        f"estimated_{name}_low": gauge.low if gauge else None,
        f"estimated_{name}_expected": gauge.expected if gauge else None,
        f"estimated_{name}_high": gauge.high if gauge else None,
    }


def _quality(report: Report) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for metric in get_args(Metric):
        score = report.score(metric)
        cells[f"baseline_{metric}"] = score.baseline if score else None
        cells[metric] = score.tuned if score else None
    cells["best_step"] = report.best.step if report.best else None
    cells["failure_code"] = report.failure.code if report.failure else None
    return cells


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA_STARTS) else value
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(int(value)) if float(value).is_integer() else repr(value)
