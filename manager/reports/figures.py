"""Which charts a report has: loss and evaluation over dollars (or time) and over steps, runs by dollars and metric."""

from __future__ import annotations

from decimal import Decimal

from manager.reports import wording
from manager.reports.charts import Chart, Format, Point, Series, decimals, draw
from manager.reports.compare import Comparison
from manager.reports.model import EvaluationPoint, LossPoint, Report
from manager.units import format_duration
from tasks.kinds import UNBOUNDED
from tasks.protocol import EvaluationStage

DOLLARS, MINUTES, STEPS = "dollars", "minutes", "steps"


def axes(report: Report) -> tuple[str, ...]:
    """Horizontal axes that the report can have: dollars where the price is known and not 0, else minutes; steps."""
    placed = any(p.since_billing_s is not None for p in report.losses)
    if not placed and all(p.since_billing_s is None for p in report.evaluations):
        return (STEPS,)
    return (DOLLARS if report.price_usd_per_hour else MINUTES, STEPS)


def loss_chart(report: Report, axis: str) -> Chart | None:
    """Training loss of each logged step and loss on the validation split."""
    training = [_loss_point(p, p.loss, axis) for p in report.losses if p.loss is not None]
    validation = [
        _loss_point(p, p.loss, axis)
        for p in report.evaluations
        if p.stage is EvaluationStage.INTERVAL and p.loss is not None
    ]
    return draw(
        [
            Series(name="training", kind="first", points=tuple(training), dots=False),
            Series(name="validation", kind="second", points=tuple(validation)),
        ],
        title="Loss",
        description=f"Training and validation loss over {_X_TITLES[axis].lower()}",
        x_title=_X_TITLES[axis],
        y_title="loss",
        x_format=_X_FORMATS[axis],
        y_format=_plain_number,
    )


def metric_chart(report: Report, axis: str) -> Chart | None:
    """The run's metric at each evaluation: validation while it trained, test before and after."""
    metric = report.spec.training.metric
    interval = _metric_points(report, metric, axis, EvaluationStage.INTERVAL)
    test = _metric_points(report, metric, axis, EvaluationStage.BASELINE)
    test += _metric_points(report, metric, axis, EvaluationStage.FINAL)
    title = wording.metric_title(metric)
    return draw(
        [
            Series(name="test set", kind="test", points=tuple(test), joined=False),
            Series(name="validation", kind="second", points=tuple(interval)),
        ],
        title=title,
        description=f"{title} at each evaluation over {_X_TITLES[axis].lower()}",
        x_title=_X_TITLES[axis],
        y_title=wording.in_sentence(metric),
        x_format=_X_FORMATS[axis],
        y_format=_plain_number if metric in UNBOUNDED else _percent,
    )


def comparison_chart(comparison: Comparison, marks: dict[str, str]) -> Chart | None:
    """Runs as dots, dollars across and metric up, with a line along those that no other run beats.

    Args:
        comparison: the runs.
        marks: run id -> the letters that stand for it in the table.
    """
    dots: list[Point] = []
    frontier: list[Point] = []
    for row in comparison.rows:
        if row.excluded is not None or row.cost_usd is None or row.value is None:
            continue
        value = wording.metric_value(comparison.metric, row.value)
        text = f"{row.run_id}: {value} for {wording.usd_column([row.cost_usd])[0]}"
        point = Point(x=float(row.cost_usd), y=row.value, text=text, mark=marks[row.run_id])
        (frontier if row.on_frontier else dots).append(point)
    title = wording.metric_title(comparison.metric)
    return draw(
        [
            Series(name="best for their price", kind="frontier", points=tuple(frontier)),
            Series(name="beaten by another run", kind="beaten", points=tuple(dots), joined=False),
        ],
        title=f"Cost against {wording.in_sentence(comparison.metric)}",
        description=f"{title} on the test set over dollars, one dot a run",
        x_title="Dollars for the whole run",
        y_title=wording.in_sentence(comparison.metric),
        x_format=_dollars,
        y_format=_plain_number if comparison.metric in UNBOUNDED else _percent,
        log_x=True,
    )


def _metric_points(report: Report, metric: str, axis: str, stage: EvaluationStage) -> list[Point]:
    found = []
    for point in report.evaluations:
        value = point.metrics.get(metric)
        if point.stage is stage and value is not None:
            what = "" if stage is EvaluationStage.INTERVAL else f" ({stage})"
            text = f"{point.split}{what}, {wording.metric_value(metric, value)}, {_at(point)}"
            found.append(Point(x=_x(point, axis), y=value, text=text))
    return found


def _loss_point(point: LossPoint | EvaluationPoint, loss: float | None, axis: str) -> Point:
    assert loss is not None, "points without a loss are left out before"
    return Point(x=_x(point, axis), y=loss, text=f"loss {loss:.4f}, {_at(point)}")


def _at(point: LossPoint | EvaluationPoint) -> str:
    cost = "" if point.cost_usd is None else f", {wording.usd_column([point.cost_usd])[0]}"
    return f"step {point.step}, {format_duration(point.since_billing_s)}{cost}"


def _x(point: LossPoint | EvaluationPoint, axis: str) -> float:
    if axis == STEPS:
        return point.step
    if axis == MINUTES:
        return (point.since_billing_s or 0.0) / 60
    return float(point.cost_usd or Decimal(0))


def _dollars(value: float, step: float) -> str:
    return f"${value:,.{max(2, decimals(step))}f}"


def _plain_number(value: float, step: float) -> str:
    return f"{value:,.{decimals(step)}f}"


def _percent(value: float, step: float) -> str:
    return f"{100 * value:.{decimals(100 * step)}f}%"


_X_TITLES = {DOLLARS: "Dollars since billing began", MINUTES: "Minutes since billing began", STEPS: "Optimizer steps"}
_X_FORMATS: dict[str, Format] = {DOLLARS: _dollars, MINUTES: _plain_number, STEPS: _plain_number}
