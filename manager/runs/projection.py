"""What a run will have cost when it is done, from how far it has come. Pure.

Formula, in seconds, with s of S optimizer steps done in `elapsed_s` of training:
    remaining = (S - s) x elapsed_s / s  +  samples still to be evaluated x seconds per evaluated sample
    total     = billed so far + remaining - time since the last sign of progress
Seconds per evaluated sample are measured on the evaluations so far; before the first one they follow from the speed of
training and the FLOPs of both. The interval widens the remaining time by u = 5 % + 50 % / sqrt(s): step times of a
short history say little about the rest (the standard error of a mean falls with the root of the count). A run that may
end early (early stopping, quality target) could end now: its low end has nothing remaining.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal

from manager.units import SECONDS_PER_HOUR, Interval, MoneyInterval
from manager.workload.profile import WorkloadProfile
from tasks.protocol import EvaluationStage, Event, EventType

BASE_SPREAD = 0.05
FIRST_STEP_SPREAD = 0.5
PROBE_SPREAD = 0.25
"""Of what remains as a probe measured it: a few steps of typical lengths, one evaluation batch, one save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come, as its events tell."""

    steps: int = 0
    training_s: float = 0.0
    """Time in optimizer steps."""
    evaluated_samples: int = 0
    evaluation_s: float = 0.0
    interval_evaluations: int = 0
    final_evaluation_done: bool = False
    finished: bool = False
    probed_s: float | None = None
    """What remained when the probe was through; None before it, and without one."""
    seen_at_s: float | None = None
    """Unix time, this machine's clock, of the last sign of progress; None before the first."""

    def after(self, event: Event, *, now_s: float) -> Progress:
        """Progress with one more event."""
        data = event.data
        if event.type is EventType.TRAIN:
            return replace(self, steps=int(data["step"]), training_s=float(data["elapsed_s"]), seen_at_s=now_s)
        if event.type is EventType.EVALUATION:
            return replace(
                self,
                evaluated_samples=self.evaluated_samples + int(data["samples"]),
                evaluation_s=self.evaluation_s + float(data["duration_s"]),
                interval_evaluations=self.interval_evaluations + (data["stage"] == EvaluationStage.INTERVAL),
                final_evaluation_done=self.final_evaluation_done or data["stage"] == EvaluationStage.FINAL,
                seen_at_s=now_s,
            )
        if event.type is EventType.PROBE:
            return replace(self, probed_s=float(data["remaining_s"]), seen_at_s=now_s)
        if event.type is EventType.FINISHED:
            return replace(self, finished=True, seen_at_s=now_s)
        return self


def project_hours(
    progress: Progress,
    profile: WorkloadProfile,
    *,
    billing_started_at_s: float,
    now_s: float,
    may_end_early: bool,
) -> Interval | None:
    """Hours from the start of billing to the end of the task; None before the first optimizer step and any probe."""
    billed_s = max(0.0, now_s - billing_started_at_s)
    if progress.finished:
        return _hours(billed_s, billed_s, billed_s)
    if progress.steps == 0 and progress.probed_s is not None and progress.seen_at_s is not None:
        return _probed_hours(progress.probed_s, billed_s, now_s - progress.seen_at_s, may_end_early=may_end_early)
    if progress.steps == 0 or progress.training_s <= 0 or progress.seen_at_s is None:
        return None
    step_s = progress.training_s / progress.steps
    steps_left = max(0, profile.steps - progress.steps)
    remaining_s = steps_left * step_s + _samples_left(progress, profile) * _sample_s(progress, profile, step_s)
    remaining_s = max(0.0, remaining_s - max(0.0, now_s - progress.seen_at_s))
    spread = min(1.0, BASE_SPREAD + FIRST_STEP_SPREAD / math.sqrt(progress.steps))
    low_s = 0.0 if may_end_early else remaining_s * (1 - spread)
    return _hours(billed_s + low_s, billed_s + remaining_s, billed_s + remaining_s * (1 + spread))


def _probed_hours(probed_s: float, billed_s: float, since_s: float, *, may_end_early: bool) -> Interval:
    left_s = max(0.0, probed_s - max(0.0, since_s))
    low_s = 0.0 if may_end_early else left_s * (1 - PROBE_SPREAD)
    return _hours(billed_s + low_s, billed_s + left_s, billed_s + left_s * (1 + PROBE_SPREAD))


def project_usd(
    hours: Interval | None, price_usd_per_hour: Decimal | None, *, before_usd: Decimal = Decimal(0)
) -> MoneyInterval | None:
    """Dollars at the launch price, behind those of machines that the launch gave back; None: hours or price unknown."""
    if hours is None or price_usd_per_hour is None:
        return None
    before = MoneyInterval(low=before_usd, expected=before_usd, high=before_usd)
    return MoneyInterval.sum([MoneyInterval.of(hours, price_usd_per_hour), before])


def _samples_left(progress: Progress, profile: WorkloadProfile) -> int:
    intervals = max(0, profile.evaluations - progress.interval_evaluations)
    final = 0 if progress.final_evaluation_done else profile.data.test_samples
    return intervals * profile.data.validation_samples + final


def _sample_s(progress: Progress, profile: WorkloadProfile, step_s: float) -> float:
    if progress.evaluated_samples > 0:
        return progress.evaluation_s / progress.evaluated_samples
    samples = profile.evaluations * profile.data.validation_samples + 2 * profile.data.test_samples
    if samples == 0 or profile.flops_per_step <= 0:
        return 0.0
    return step_s * profile.flops_evaluation / profile.flops_per_step / samples


def _hours(low_s: float, expected_s: float, high_s: float) -> Interval:
    return Interval(
        low=low_s / SECONDS_PER_HOUR, expected=expected_s / SECONDS_PER_HOUR, high=high_s / SECONDS_PER_HOUR
    )
