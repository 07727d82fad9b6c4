"""Rework of a spot run as an interval: `planner.preemption` at the low, expected and high ends of what it rests on.

The run keeps one checkpoint interval, which is chosen for what is expected; where steps turn out faster or slower it
is the steps between checkpoints that stay, and so does the number of checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.planner.preemption import Preemption, Rework, best_interval_s, rework
from manager.units import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotRun:
    """A run on spot machines without any preemption; times in seconds, as `planner.preemption` divides them."""

    before_s: Interval
    """From the request to the first step: boot, set-up, download, start, data, baseline."""
    work_s: Interval
    """Training and the evaluations in it, without checkpoints."""
    after_s: Interval
    """Behind the last checkpoint: final evaluation, saving, fetch, teardown."""
    checkpoint_s: Interval
    """To write one."""
    recovery_s: Interval
    """From a new request to going on: boot, set-up, download, start, data."""
    wait_s: Interval
    """For capacity after a preemption."""
    rate_per_hour: Interval
    """Preemptions of one node."""
    nodes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotBand:
    """What preemptions add, with its ends; each end may be `inf`, where the run would never end."""

    low: Rework
    expected: Rework
    high: Rework

    @property
    def writing_s(self) -> Interval:
        """All checkpoints."""
        return Interval(low=self.low.writing_s, expected=self.expected.writing_s, high=self.high.writing_s)

    @property
    def lost_s(self) -> Interval:
        """Billed besides: work done again, recoveries, launches that were cut short."""
        return Interval(low=self.low.lost_s, expected=self.expected.lost_s, high=self.high.lost_s)

    @property
    def waited_s(self) -> Interval:
        """Wall time without a machine, not billed."""
        return Interval(low=self.low.waited_s, expected=self.expected.waited_s, high=self.high.waited_s)

    @property
    def preemptions(self) -> Interval:
        """Expected number."""
        return Interval(low=self.low.preemptions, expected=self.expected.preemptions, high=self.high.preemptions)


def spot_band(run: SpotRun, *, interval_s: float | None = None) -> SpotBand:
    """The rework at all low, all expected and all high ends.

    Rework grows with each of them, so that the ends enclose all that lies between.

    Args:
        run: times and rate.
        interval_s: training between checkpoints at the expected speed of steps; None: the best.
    """
    expected = _preemption(run, "expected")
    every_s = best_interval_s(run.work_s.expected, expected) if interval_s is None else interval_s
    share = every_s / run.work_s.expected
    ends = {name: _rework(run, name, share) for name in ("low", "expected", "high")}
    return SpotBand(**ends)


def _rework(run: SpotRun, end: str, share: float) -> Rework:
    work_s = getattr(run.work_s, end)
    return rework(
        work_s,
        _preemption(run, end),
        before_s=getattr(run.before_s, end),
        after_s=getattr(run.after_s, end),
        interval_s=work_s * share,
    )


def _preemption(run: SpotRun, end: str) -> Preemption:
    return Preemption(
        rate_per_hour=getattr(run.rate_per_hour, end) * run.nodes,
        checkpoint_s=getattr(run.checkpoint_s, end),
        recovery_s=getattr(run.recovery_s, end),
        wait_s=getattr(run.wait_s, end),
    )
