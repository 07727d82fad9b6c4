"""What the tuning achieved: metrics before and after, classes, the best step, and what an earlier stop would mean."""

from __future__ import annotations

from typing import Any, get_args

from manager.reports.model import Best, ClassScore, Confusion, EarlierStop, EvaluationPoint, LossPoint, Score
from manager.reports.reading import as_number, last, metrics, number, of_stage, text, whole
from manager.reports.timeline import Timeline, task_end_s
from manager.runs.milestones import MILESTONES, holding_seqs, milestone_of
from manager.spec.schema import Metric
from tasks.kinds import UNBOUNDED, is_better
from tasks.protocol import EvaluationStage, Event, EventType


def read_scores(events: tuple[Event, ...]) -> tuple[Score, ...]:
    """Each metric of the test split, untouched model beside tuned one."""
    baseline = _metrics_of(events, EvaluationStage.BASELINE)
    tuned = _metrics_of(events, EvaluationStage.FINAL)
    names = dict.fromkeys([*get_args(Metric), *tuned, *baseline])
    return tuple(
        Score(metric=name, baseline=baseline.get(name), tuned=tuned.get(name))
        for name in names
        if name in tuned or name in baseline
    )


def read_classes(events: tuple[Event, ...]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class on the test split, in the order of the labels."""
    before = _per_class(events, EvaluationStage.BASELINE)
    shown = _per_class(events, EvaluationStage.FINAL) or before
    return tuple(
        ClassScore(
            label=label,
            precision=as_number(values.get("precision")),
            recall=as_number(values.get("recall")),
            f1=as_number(values.get("f1")),
            support=None if (support := as_number(values.get("support"))) is None else int(support),
            baseline_f1=as_number(before.get(label, {}).get("f1")),
        )
        for label, values in shown.items()
    )


def read_confusion(events: tuple[Event, ...]) -> Confusion | None:
    """The confusion matrix of the tuned model, or of the untouched one when there is no other."""
    for stage in (EvaluationStage.FINAL, EvaluationStage.BASELINE):
        for event in reversed(_on_test(events, stage)):
            counts = event.data.get("confusion_matrix")
            labels = _labels(events) or tuple(_per_class(events, stage))
            if counts and len(labels) == len(counts):
                return Confusion(stage=stage, labels=labels, counts=tuple(tuple(int(n) for n in row) for row in counts))
    return None


def read_best(events: tuple[Event, ...], metric: str) -> Best | None:
    """The step whose weights were kept: as the task said, else the best interval evaluation so far."""
    finished = last(events, EventType.FINISHED)
    told = finished.data.get("best") if finished else None
    if told:
        return Best(metric=str(told["metric"]), value=float(told["value"]), step=int(told["step"]))
    best: Best | None = None
    for event in of_stage(events, EvaluationStage.INTERVAL):
        value = metrics(event).get(metric)
        if value is not None and (best is None or is_better(metric, value, best.value)):
            best = Best(metric=metric, value=value, step=whole(event, "step") or 0)
    return best


def read_losses(events: tuple[Event, ...], timeline: Timeline) -> tuple[LossPoint, ...]:
    """The training curve; after a resume a step counts once, as it was seen last."""
    by_step: dict[int, LossPoint] = {}
    for event in events:
        if event.type is not EventType.TRAIN:
            continue
        since = timeline.since_billing_s(event)
        point = LossPoint(
            step=whole(event, "step") or 0,
            epoch=number(event, "epoch"),
            loss=number(event, "loss"),
            since_billing_s=since,
            cost_usd=timeline.cost_usd(since),
            tokens_per_s=number(event, "tokens_per_s"),
        )
        by_step[point.step] = point
    return tuple(by_step[step] for step in sorted(by_step))


def read_evaluations(events: tuple[Event, ...], timeline: Timeline) -> tuple[EvaluationPoint, ...]:
    """All evaluations, oldest first; a repeated one (after a resume) counts once, as it was seen last."""
    points: dict[tuple[EvaluationStage, int], EvaluationPoint] = {}
    for event in events:
        if event.type is not EventType.EVALUATION:
            continue
        since = timeline.since_billing_s(event)
        point = EvaluationPoint(
            stage=EvaluationStage(event.data["stage"]),
            split=text(event, "split") or "unknown",
            step=whole(event, "step") or 0,
            loss=number(event, "loss"),
            metrics=metrics(event),
            since_billing_s=since,
            cost_usd=timeline.cost_usd(since),
            samples=whole(event, "samples"),
        )
        points[point.stage, point.step] = point
    return tuple(points.values())


def earlier_stops(events: tuple[Event, ...], timeline: Timeline, metric: str) -> tuple[EarlierStop, ...]:
    """For each interval evaluation but the last: dollars saved and points lost, had training ended there.

    Ending there would keep the best weights until then, and the steps after training (final evaluation, saving,
    teardown) would be paid all the same. Empty while training goes on, and for metrics that are no percentage.
    """
    end_s = task_end_s(timeline, events)
    if end_s is None or metric in UNBOUNDED or last(events, EventType.FINISHED) is None:
        return ()
    points = [p for p in read_evaluations(events, timeline) if p.stage is EvaluationStage.INTERVAL]
    known = [(p, v, p.since_billing_s) for p in points if (v := p.metrics.get(metric)) is not None]
    if len(known) < 2:
        return ()
    best = max(value for _, value, _ in known)
    stops, so_far = [], float("-inf")
    for point, value, since in known[:-1]:
        so_far = max(so_far, value)
        saved_s = max(0.0, round(end_s - (since or 0.0), 3))
        stops.append(
            EarlierStop(
                step=point.step,
                metric=metric,
                value=so_far,
                points_lost=round(100 * (best - so_far), 6),
                saved_s=saved_s,
                saved_usd=timeline.cost_usd(saved_s),
            )
        )
    return tuple(stops)


def _on_test(events: tuple[Event, ...], stage: EvaluationStage) -> list[Event]:
    """Evaluations of a stage that still hold, oldest first."""
    holding = holding_seqs([milestone_of(event) for event in events if event.type in MILESTONES], stage)
    return [event for event in of_stage(events, stage) if event.seq in holding]


def _metrics_of(events: tuple[Event, ...], stage: EvaluationStage) -> dict[str, float | None]:
    found = _on_test(events, stage)
    return metrics(found[-1]) if found else {}


def _per_class(events: tuple[Event, ...], stage: EvaluationStage) -> dict[str, dict[str, Any]]:
    found = _on_test(events, stage)
    return dict(found[-1].data.get("per_class") or {}) if found else {}


def _labels(events: tuple[Event, ...]) -> tuple[str, ...]:
    data = last(events, EventType.DATA)
    return tuple(str(label) for label in data.data.get("labels", ())) if data else ()
