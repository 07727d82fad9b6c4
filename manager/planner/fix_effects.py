"""What a change of the recipe does to hours and dollars of training, against the recipe as it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.accelerators import Accelerator
from manager.units import SECONDS_PER_HOUR
from manager.workload.efficiencies import software
from manager.workload.fixes import Effect, Fix
from manager.workload.profile import WorkloadProfile
from manager.workload.roofline import UntimedWorkError, step_seconds
from manager.workload.speed import speed_of
from tasks.step_trace import StepTrace

_SAME_STEP = ("micro_batch", "adamw_8bit")
"""Rungs that run the same step in other portions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectOfFix:
    """Judges rungs of the ladder on one card; called once per rung that fits."""

    profile: WorkloadProfile
    trace: StepTrace
    """Of the recipe as it was asked for."""
    alternatives: Mapping[str, StepTrace]
    accelerator: Accelerator
    usd_per_hour: Decimal | None
    """Of one such card; None: unknown."""
    share: int
    """Samples of one device per optimizer step."""
    rank: int | None

    def __call__(self, fix: Fix) -> Effect | None:
        """More hours and dollars for all steps; None for rungs that change machine, or the data."""
        trace = self.alternatives.get(fix.name) or (self.trace if fix.name in _SAME_STEP else None)
        if trace is None or fix.micro_batch is None:
            return None
        before, after = self._hours(self.trace, self.share), self._hours(trace, fix.micro_batch)
        if before is None or after is None:
            return None
        more = after - before
        return Effect(hours=more, usd=None if self.usd_per_hour is None else more * float(self.usd_per_hour))

    def _hours(self, trace: StepTrace, micro_batch: int) -> float | None:
        """Hours of all optimizer steps, were there memory enough."""
        speed = speed_of(self.accelerator, software=software("eager"))
        if speed is None:
            return None
        try:
            step = step_seconds(
                trace,
                speed,
                batch=micro_batch,
                length=self.profile.mean_step_length,
                micro_batches=max(1.0, self.share / micro_batch),
                rank=self.rank or 0,
            )
        except UntimedWorkError:
            return None
        return step.total_s * self.profile.steps / SECONDS_PER_HOUR
