"""Rework of a spot run as an interval: `planner.preemption` at the low, expected and high ends of what it rests on.

The run keeps one checkpoint interval, which is chosen for what is expected; where steps turn out faster or slower it
is the steps between checkpoints that stay, and so does the number of checkpoints. Ends are plain tuples, because
hundreds of kinds of machines are asked whenever something in a job changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from manager.planner.preemption import Preemption, Rework, best_interval_s, rework

Ends = tuple[float, float, float]
"""Low, expected, high."""
LOW, EXPECTED, HIGH = range(3)
"""Places in `Ends`."""


class SpotRun(NamedTuple):
    """A run on spot machines without any preemption; times in seconds, as `planner.preemption` divides them."""

    before_s: Ends
    """From the request to the first step: boot, set-up, download, start, data, probe, baseline."""
    work_s: Ends
    """Training and the evaluations in it, without checkpoints."""
    after_s: Ends
    """Behind the last checkpoint: final evaluation, saving, teardown."""
    checkpoint_s: Ends
    """To write one."""
    recovery_s: Ends
    """From a new request to going on: boot, set-up, download, start, data."""
    wait_s: Ends
    """For capacity after a preemption."""
    rate_per_hour: Ends
    """Preemptions of one node."""
    nodes: int = 1
    moved_s: Ends = (0.0, 0.0, 0.0)
    """Bringing results home, file by file: behind the last checkpoint too, and not done again."""

    def preemption(self, end: int) -> Preemption:
        """Of all nodes together, at one of the ends."""
        one = Preemption(
            rate_per_hour=self.rate_per_hour[end],
            checkpoint_s=self.checkpoint_s[end],
            recovery_s=self.recovery_s[end],
            wait_s=self.wait_s[end],
        )
        return one if self.nodes == 1 else one.on_nodes(self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotBand:
    """What preemptions add, with its ends; each end may be `inf`, where the run would never end."""

    low: Rework
    expected: Rework
    high: Rework

    @property
    def writing_s(self) -> Ends:
        """All checkpoints."""
        return self.low.writing_s, self.expected.writing_s, self.high.writing_s

    @property
    def lost_s(self) -> Ends:
        """Billed besides: work done again, recoveries, launches that were cut short."""
        return self.low.lost_s, self.expected.lost_s, self.high.lost_s

    @property
    def waited_s(self) -> Ends:
        """Wall time without a machine, not billed."""
        return self.low.waited_s, self.expected.waited_s, self.high.waited_s

    @property
    def preemptions(self) -> Ends:
        """Expected number."""
        return self.low.preemptions, self.expected.preemptions, self.high.preemptions


def spot_band(run: SpotRun, *, interval_s: float | None = None) -> SpotBand:
    """The rework at all low, all expected and all high ends.

    Rework grows with each of them, so that the ends enclose all that lies between.

    Args:
        run: times and rate.
        interval_s: training between checkpoints at the expected speed of steps; None: the best.
    """
    if interval_s is None:
        interval_s = best_interval_s(run.work_s[EXPECTED], run.preemption(EXPECTED))
    share = interval_s / run.work_s[EXPECTED]
    return SpotBand(
        low=_rework(run, LOW, share),
        expected=_rework(run, EXPECTED, share),
        high=_rework(run, HIGH, share),
    )


def _rework(run: SpotRun, end: int, share: float) -> Rework:
    work_s, preemption = run.work_s[end], run.preemption(end)
    return rework(
        work_s,
        preemption,
        before_s=run.before_s[end],
        after_s=run.after_s[end],
        moved_s=run.moved_s[end],
        interval_s=work_s * share,
    )
