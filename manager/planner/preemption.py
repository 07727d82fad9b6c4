"""What preemptions add to a run on spot machines: expected billed time, checkpoints, and when on demand is cheaper.

Preemptions come as a Poisson process while a machine is billed. A run has three parts: `before_s`, from the request to
the first training step (boot, set-up, download, start, probe, baseline), which begins anew when a preemption hits it;
the training, cut by checkpoints, of which the work since the last one is lost and a recovery (boot, set-up, download,
start, but neither probe nor baseline) comes on top; and `after_s`, behind the last checkpoint (final evaluation,
saving, bringing home), which begins anew after a recovery. Recoveries can be preempted as well. Waiting for capacity is
not billed and stands apart. `moved_s` goes on where it stood: results that come home file by file. Real preemptions
come in clusters, which the band of the assumed rate stands for.

The time of one attempt of length x that is repeated until it comes through, e^(lambda R) (e^(lambda x) - 1) / lambda,
summed over T / tau segments of tau + delta, is the complete model of J. T. Daly, "A higher order estimate of the
optimum checkpoint interval for restart dumps", Future Generation Computer Systems 22 (2006) 303-312; the first-order
interval is J. W. Young's, "A first order approximation to the optimum checkpoint interval", Communications of the ACM
17 (1974) 530-531.

Pure; seconds in and out, `math.inf` for a run that never comes to its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from manager.units import SECONDS_PER_HOUR

_NEWTON_STEPS = 50
_CONVERGED = 1e-12
_BISECTIONS = 60
_MOST_EXPONENT = 700.0
"""Beyond it e^x is no float."""
_HOPELESS = 30.0
"""Checkpoints that take so many mean times between preemptions: the best interval is one such mean time, to a float."""
_MOST_SEGMENTS = 1_000_000
"""Checkpoints that take no time would be written without end; no run has so many steps between useful ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """How spot machines are taken away, and what that costs in time."""

    rate_per_hour: float
    """Expected preemptions of the whole set of machines in an hour of use; 0 is on demand."""
    checkpoint_s: float
    """Training stands still so long for one checkpoint."""
    recovery_s: float
    """Billed time from a new request to the step after the last checkpoint."""
    wait_s: float = 0.0
    """Until capacity is found again after a preemption; not billed."""

    def __post_init__(self) -> None:
        if not (
            0 <= self.rate_per_hour < math.inf
            and 0 <= self.checkpoint_s < math.inf
            and 0 <= self.recovery_s < math.inf
            and 0 <= self.wait_s < math.inf
        ):
            raise ValueError(f"rates and times are finite and not negative: {self}")

    @property
    def rate_per_s(self) -> float:
        """The rate in the unit of the formulas."""
        return self.rate_per_hour / SECONDS_PER_HOUR

    def on_nodes(self, nodes: int) -> Preemption:
        """The same for so many nodes that stop together, each preempted independently of the others."""
        return replace(self, rate_per_hour=self.rate_per_hour * nodes)


Intervals = Callable[[Preemption], float]
"""Chooses the training between two checkpoints, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rework:
    """What preemptions add to a run."""

    interval_s: float
    """Training between two checkpoints."""
    checkpoints: int
    """Written in an undisturbed run, the one after the last step included."""
    writing_s: float
    """For those checkpoints."""
    lost_s: float
    """Billed besides: work done again, recoveries, launches that were cut short. `inf`: the run never ends."""
    preemptions: float
    """Expected number."""
    waited_s: float
    """Without a machine, not billed."""

    @property
    def added_s(self) -> float:
        """Billed on top of the undisturbed run without checkpoints."""
        return self.writing_s + self.lost_s

    @property
    def wall_s(self) -> float:
        """On top of the undisturbed run's wall time, without checkpoints."""
        return self.added_s + self.waited_s


def young_interval_s(preemption: Preemption) -> float:
    """Training between checkpoints to first order: sqrt(2 delta / lambda); `inf` without preemptions."""
    rate = preemption.rate_per_s
    return math.sqrt(2 * preemption.checkpoint_s / rate) if rate > 0 else math.inf


def daly_interval_s(preemption: Preemption) -> float:
    """Training between checkpoints to higher order (Daly 2006); `inf` without preemptions."""
    rate, write = preemption.rate_per_s, preemption.checkpoint_s
    if rate == 0:
        return math.inf
    share = write * rate / 2
    if share >= 1:
        return 1 / rate
    return math.sqrt(2 * write / rate) * (1 + math.sqrt(share) / 3 + share / 9) - write


def best_interval_s(work_s: float, preemption: Preemption) -> float:
    """Training between checkpoints that makes the expected time least, a whole fraction of the work.

    The recovery does not enter: it is a factor of each segment alike.
    """
    return work_s / _best_segments(work_s, preemption)


def best_interval_steps(steps: int, step_s: float, preemption: Preemption) -> int:
    """The best interval in whole optimizer steps, from 1 to all of them."""
    if steps < 1 or not 0 < step_s < math.inf:
        raise ValueError(f"a run has steps that take time, not {steps} of {step_s} s")
    work_s = steps * step_s
    near = best_interval_s(work_s, preemption) / step_s
    few = min(steps, max(1, math.floor(near)))
    choices = (few, min(steps, few + 1))
    return min(choices, key=lambda every: (expected_s(work_s, every * step_s, preemption), -every))


def expected_s(work_s: float, interval_s: float, preemption: Preemption) -> float:
    """Billed time of the training with its checkpoints: each `interval_s` of work, and one behind the last step.

    Where `interval_s` divides the work this is Daly's complete model; the rest of a division is a shorter segment.
    """
    whole, rest_s = _segments(work_s, interval_s)
    writing_s = (whole + (rest_s > 0)) * preemption.checkpoint_s
    return work_s + writing_s + _lost_in_segments(whole, interval_s, rest_s, preemption)


def rework(
    work_s: float,
    preemption: Preemption,
    *,
    before_s: float = 0.0,
    after_s: float = 0.0,
    moved_s: float = 0.0,
    interval_s: float | None = None,
) -> Rework:
    """What preemptions and checkpoints add to a run.

    Args:
        work_s: training without checkpoints.
        preemption: rate, and what one costs.
        before_s: from the request to the first step; see the module's text.
        after_s: behind the last checkpoint.
        moved_s: behind it too, and not done again after a preemption.
        interval_s: training between checkpoints; None: the best.
    """
    rate = preemption.rate_per_s
    if interval_s is None:
        whole, rest_s = _best_segments(work_s, preemption), 0.0
        interval_s = work_s / whole
    else:
        whole, rest_s = _segments(work_s, interval_s)
    lost_s = (
        _lost_s(before_s, rate, 0.0)
        + _lost_in_segments(whole, interval_s, rest_s, preemption)
        + _lost_s(after_s, rate, preemption.recovery_s)
        + _lost_while_moving_s(moved_s, rate, preemption.recovery_s)
    )
    checkpoints = whole + (rest_s > 0)
    writing_s = checkpoints * preemption.checkpoint_s
    # Preemptions less rate times exposed time is a martingale; at the run's end, a stopping time, its mean is 0.
    preemptions = rate * (before_s + work_s + after_s + moved_s + writing_s + lost_s) if rate else 0.0
    return Rework(
        interval_s=interval_s,
        checkpoints=checkpoints,
        writing_s=writing_s,
        lost_s=lost_s,
        preemptions=preemptions,
        waited_s=preemptions * preemption.wait_s if preemption.wait_s else 0.0,
    )


def break_even_price_share(
    work_s: float,
    preemption: Preemption,
    *,
    on_demand_s: float,
    before_s: float = 0.0,
    after_s: float = 0.0,
    moved_s: float = 0.0,
    intervals: Intervals | None = None,
) -> float:
    """The spot price, as a share of the on-demand price, at which both runs cost the same; spot pays below it.

    `on_demand_s` is the billed time on demand, its checkpoints included. 0 where the spot run never ends.
    `intervals` as in `break_even_rate`.
    """
    _check_time(on_demand_s)
    return on_demand_s / _billed_s(work_s, preemption, before_s, after_s + moved_s, intervals, moved_s)


def break_even_rate(
    work_s: float,
    preemption: Preemption,
    *,
    price_share: float,
    on_demand_s: float,
    before_s: float = 0.0,
    after_s: float = 0.0,
    moved_s: float = 0.0,
    intervals: Intervals | None = None,
) -> float | None:
    """Preemptions per hour at which spot at `price_share` of the on-demand price costs as much; fewer, and it pays.

    None: spot costs as much or more without any preemption.

    Args:
        work_s: training without checkpoints.
        preemption: what one costs; its rate is not looked at.
        price_share: spot price by on-demand price.
        on_demand_s: billed time on demand, its checkpoints included.
        before_s: as in `rework`.
        after_s: the same.
        moved_s: the same.
        intervals: training between checkpoints at each rate; None: the best.

    Raises:
        ValueError: `price_share` is not a positive number, or a time is none.
    """
    _check_time(on_demand_s)
    if not 0 < price_share < math.inf:
        raise ValueError(f"a price share is a positive number, not {price_share}")
    allowed_s = on_demand_s / price_share

    def pays(rate_per_hour: float) -> bool:
        there = replace(preemption, rate_per_hour=rate_per_hour)
        return _billed_s(work_s, there, before_s, after_s + moved_s, intervals, moved_s) < allowed_s

    if not pays(0.0):
        return None
    # The time grows without bound with the rate, since recoveries and work are at risk.
    high = 1.0
    while pays(high):
        if high > 1e12:
            return math.inf  # Nothing of the run takes time.
        high *= 2
    low = 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if pays(middle) else (low, middle)
    return low


def _billed_s(
    work_s: float,
    preemption: Preemption,
    before_s: float,
    behind_s: float,
    intervals: Intervals | None,
    moved_s: float,
) -> float:
    """Of a whole run; `behind_s` is all behind the last checkpoint."""
    interval_s = None if intervals is None else intervals(preemption)
    added = rework(
        work_s,
        preemption,
        before_s=before_s,
        after_s=behind_s - moved_s,
        moved_s=moved_s,
        interval_s=interval_s,
    )
    return before_s + work_s + behind_s + added.added_s


def _best_segments(work_s: float, preemption: Preemption) -> int:
    """Segments of equal work that make the expected time least; the time is convex in their number."""
    _check_time(work_s)
    best_s = _unbounded_interval_s(preemption)
    if best_s >= work_s:
        return 1
    if best_s * _MOST_SEGMENTS <= work_s:
        return _MOST_SEGMENTS
    few = math.floor(work_s / best_s)
    rate, write = preemption.rate_per_s, preemption.checkpoint_s
    one_less, one_more = (n * (write + _lost_s(work_s / n + write, rate, 0.0)) for n in (few, few + 1))
    return few if one_less <= one_more else few + 1


def _unbounded_interval_s(preemption: Preemption) -> float:
    """The minimum of Daly's complete model: (1 - lambda tau) e^(lambda (tau + delta)) = 1, by Newton from his estimate.

    In y = lambda tau the logarithm of that, y + d + log(1 - y) = 0, is concave and falls from d at 0.
    """
    rate, write = preemption.rate_per_s, preemption.checkpoint_s
    if rate == 0:
        return math.inf
    d = rate * write
    if d > _HOPELESS:
        return 1 / rate
    if d < _CONVERGED:
        return young_interval_s(preemption)
    y = min(1 - math.exp(-1 - d), daly_interval_s(preemption) * rate)
    for _ in range(_NEWTON_STEPS):
        step = (y + d + math.log1p(-y)) * (1 - y) / y
        y = min(y + step, (1 + y) / 2)
        if abs(step) <= _CONVERGED * y:
            break
    return y / rate


def _segments(work_s: float, interval_s: float) -> tuple[int, float]:
    """Whole intervals in the work, and what is left."""
    _check_time(work_s)
    if not interval_s > 0:
        raise ValueError(f"an interval is a positive time, not {interval_s}")
    if interval_s >= work_s:
        return 0, work_s
    parts = work_s / interval_s
    whole = round(parts)
    # Intervals are often made by a division of this very work.
    if abs(parts - whole) > 1e-9 * parts:
        whole = math.floor(parts)
        return whole, work_s - whole * interval_s
    return whole, 0.0


def _lost_in_segments(whole: int, interval_s: float, rest_s: float, preemption: Preemption) -> float:
    rate, write, recovery_s = preemption.rate_per_s, preemption.checkpoint_s, preemption.recovery_s
    lost_s = whole * _lost_s(interval_s + write, rate, recovery_s) if whole else 0.0
    return lost_s + (_lost_s(rest_s + write, rate, recovery_s) if rest_s > 0 else 0.0)


def _lost_s(length_s: float, rate_per_s: float, recovery_s: float) -> float:
    """Billed time beyond its length until an attempt comes through: e^(lambda R) (e^(lambda x) - 1) / lambda - x."""
    at_risk = rate_per_s * length_s
    if at_risk == 0:
        return 0.0
    if at_risk + rate_per_s * recovery_s > _MOST_EXPONENT:
        return math.inf
    # Rounding must not make a preemption gain time.
    return max(0.0, length_s * (math.exp(rate_per_s * recovery_s) * (math.expm1(at_risk) / at_risk) - 1))


def _lost_while_moving_s(moved_s: float, rate_per_s: float, recovery_s: float) -> float:
    """Recoveries alone: `_lost_s` of ever shorter attempts, (e^(lambda R) - 1) a second."""
    if moved_s == 0:
        return 0.0
    exponent = rate_per_s * recovery_s
    return math.inf if exponent > _MOST_EXPONENT else moved_s * math.expm1(exponent)


def _check_time(seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise ValueError(f"a run takes a positive time, not {seconds} s")
