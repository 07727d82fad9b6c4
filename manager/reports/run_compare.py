"""Runs side by side: one row for each property, one column for each run; what beats what is `cost_accuracy`'s."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manager.reports.compare import where
from manager.reports.cost_accuracy import CostAccuracy, cost_accuracy
from manager.reports.model import Report
from manager.reports.offer_compare import ComparedRow
from manager.reports.wording import (
    METHOD_TITLES,
    UNDEFINED,
    gauge_verdict,
    in_unit,
    interval_text,
    metric_title,
    metric_value,
    outcome_text,
    parameters,
    plain,
    points,
    state_title,
    teardown_text,
    when,
)
from manager.spec.model import RunSpec
from manager.units import format_duration, format_usd

_NONE = "-"


def compare_runs(reports: Sequence[Report]) -> tuple[ComparedRow, ...]:
    """All properties of these runs, columns in their order; a metric that none of them was tested for is left out. They
    beat each other by that which most of them are about."""
    found = cost_accuracy(reports)
    verdicts = _verdicts(found, [report.run_id for report in reports])
    rows = [_row("money", name, reports, told) for name, told in _MONEY]
    rows.append(
        ComparedRow(
            group="result",
            name=f"verdict by {metric_title(found.metric)}",
            cells=tuple(verdicts[report.run_id] for report in reports),
        )
    )
    metrics = dict.fromkeys(score.metric for report in reports for score in report.scores)
    rows += [_row("result", metric_title(name), reports, _change(name)) for name in metrics]
    rows += [_row(group, name, reports, told) for group, name, told in _PROPERTIES]
    rows += [_row("training", name, reports, _of_spec(told)) for name, told in _CHOICES]
    return tuple(rows)


def _row(group: str, name: str, reports: Sequence[Report], told: Callable[[Report], str]) -> ComparedRow:
    return ComparedRow(group=group, name=name, cells=tuple(plain(told(report)) for report in reports))


def _verdicts(found: CostAccuracy, run_ids: Sequence[str]) -> dict[str, str]:
    words = {one.run.run_id: plain(f"apart: {one.reason}") for one in found.apart}
    for point in found.points:
        beaten = point.run.dominated_by
        words[point.run.run_id] = "no run is cheaper and better" if beaten is None else f"beaten by {plain(beaten)}"
    return {run_id: words.get(run_id, _NONE) for run_id in run_ids}


def _change(metric: str) -> Callable[[Report], str]:
    def told(report: Report) -> str:
        score = report.score(metric)
        if score is None:
            return _NONE
        gain = "" if score.points is None else f" ({points(score.points)} points)"
        return f"{metric_value(metric, score.baseline)} \N{RIGHTWARDS ARROW} {metric_value(metric, score.tuned)}{gain}"

    return told


def _of_spec(told: Callable[[RunSpec], str]) -> Callable[[Report], str]:
    return lambda report: told(report.spec)


def _gauge(name: str, told: Callable[[Report], str]) -> Callable[[Report], str]:
    def words(report: Report) -> str:
        gauge = report.gauge(name)
        if gauge is None or gauge.expected is None:
            return f"{told(report)}, not estimated"
        expected = in_unit(gauge.expected, gauge.unit)
        return f"{told(report)}; estimate {expected} ({interval_text(gauge)}): {gauge_verdict(gauge)}"

    return words


def _steps(report: Report) -> str:
    done = UNDEFINED if report.steps_done is None else f"{report.steps_done:,}"
    return f"{done} of {report.steps_planned:,}"


def _ended(report: Report) -> str:
    if report.failure is not None:
        return report.failure.message
    return outcome_text(report) or _NONE


def _price(report: Report) -> str:
    usd_per_hour = report.price_usd_per_hour
    return "unknown" if usd_per_hour is None else f"{format_usd(usd_per_hour)}/h"


def _rate(report: Report) -> str:
    return UNDEFINED if report.tokens_per_s is None else f"{report.tokens_per_s:,.0f} {report.counted_in}/s"


def _data(report: Report) -> str:
    data = report.data
    if data is None:
        return report.spec.data.source
    counts = (data.train_samples, data.validation_samples, data.test_samples)
    samples = " + ".join(UNDEFINED if count is None else f"{count:,}" for count in counts)
    mark = "" if data.sha256 is None else f", {data.sha256[:8]}"
    return f"{data.source}: {samples}{mark}"


def _lora(spec: RunSpec) -> str:
    return f"rank {spec.method.lora_rank}, alpha {spec.method.lora_alpha}" if "lora" in spec.method.kind else _NONE


_MONEY: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("cost", _gauge("cost", lambda one: format_usd(one.cost_usd))),
    ("billed time", _gauge("hours", lambda one: format_duration(one.billed_s))),
    ("price", _price),
    ("cap", lambda one: "none" if one.cap_usd is None else format_usd(one.cap_usd)),
    ("machine afterwards", teardown_text),
)
_PROPERTIES: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("result", "state", state_title),
    ("result", "how it ended", _ended),
    ("machine", "where", where),
    ("machine", "device", lambda one: one.machine.device_name or UNDEFINED),
    ("machine", "precision", lambda one: one.machine.precision or UNDEFINED),
    ("machine", "speed", _rate),
    ("training", "steps", _steps),
    (
        "training",
        "trainable of all parameters",
        lambda one: f"{parameters(one.trainable_parameters)} of {parameters(one.parameters)}",
    ),
    ("training", "data: train + validation + test", _data),
    ("training", "started", lambda one: when(one.created_at_s)),
)
_CHOICES: tuple[tuple[str, Callable[[RunSpec], str]], ...] = (
    ("model", lambda spec: spec.model.source),
    ("method", lambda spec: METHOD_TITLES.get(spec.method.kind, spec.method.kind)),
    ("LoRA", _lora),
    ("epochs", lambda spec: f"{spec.training.epochs:g}"),
    ("batch", lambda spec: f"{spec.training.batch_size:,} samples"),
    ("learning rate", lambda spec: f"{spec.training.learning_rate:g}, {spec.training.schedule}"),
    ("longest sample", lambda spec: f"{spec.training.max_length:,} tokens"),
    ("optimizer", lambda spec: spec.training.optimizer),
    ("seed", lambda spec: str(spec.training.seed)),
)
