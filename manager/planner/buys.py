"""What an amount of money buys: the cost of an estimate as a fixed part and a part per optimizer step.

Pure. The split is that of one plan: what recurs with steps (training, evaluation and checkpoints on the way) is divided
by its steps, what grows with time (disks, addresses, repeated work and waiting on spot) by its share of the hours, and
all else (boot, set-up, download, final evaluation, saving ...) is paid once. A plan with as many steps says what they
really cost, since evaluations are whole and repeated work is not quite in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.planner.fixed_phases import CHECKPOINTS, WAITING
from manager.planner.phases import EVALUATION, REWORK, TRAINING
from manager.planner.plan import CostLine, Estimate
from manager.planner.storage import ADDRESS, DISK
from manager.units import SECONDS_PER_HOUR
from manager.workload.profile import WorkloadProfile

MOST_EPOCHS = 10_000
"""As in a run file; nobody needs more, and no plan would be made for them."""
_WITH_STEPS = frozenset({TRAINING, EVALUATION, CHECKPOINTS})
_WITH_TIME = frozenset({REWORK, WAITING, DISK, ADDRESS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Dollars of one end of an estimate."""

    fixed_usd: Decimal
    per_step_usd: Decimal
    """Per optimizer step; 0 where steps cost less than is counted."""

    def steps_for(self, usd: Decimal, *, most: int) -> int:
        """Optimizer steps that fit into an amount, at most so many; 0 where even the fixed part does not."""
        left = usd - self.fixed_usd
        if left < 0:
            return 0
        return most if self.per_step_usd * most <= left else int(left / self.per_step_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """What the money buys on one offer."""

    estimate: Estimate
    """Of the plan that was split."""
    steps: int
    """Optimizer steps whose expected dollars are within the money, and their hours within the deadline."""
    steps_surely: int
    """Those that are within both in the worst case too; 0 where none are."""
    split: Split
    """Of the expected dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Steps in what people count training in."""

    steps: int
    epochs: float
    quantity: float
    """Over all epochs, padding left out."""
    unit: str
    """tokens, images or hours of audio."""


def what_offers_buy(
    estimates: Sequence[Estimate], profile: WorkloadProfile, usd: Decimal, *, deadline_hours: float | None = None
) -> tuple[Bought, ...]:
    """What the money buys on each offer, most steps first; offers on which not even one step fits are left out.

    Args:
        estimates: of offers that can carry the job, all of one plan.
        profile: of that plan.
        usd: dollars for the whole run.
        deadline_hours: hours for the whole run; None: as many as it takes.
    """
    most = round(MOST_EPOCHS * steps_per_epoch(profile))
    limits = _Limits(usd=usd, deadline_hours=deadline_hours, most=most)
    found = [_bought(estimate, profile.steps, limits) for estimate in estimates if estimate.cost_usd is not None]
    return tuple(sorted((one for one in found if one.steps), key=lambda one: (-one.steps, -one.steps_surely)))


def split_of(lines: Sequence[CostLine], steps: int, *, end: str) -> Split:
    """The dollars of one end of a bill in two parts.

    Args:
        lines: of the bill.
        steps: optimizer steps that it is for.
        end: low, expected or high.
    """
    dollars: dict[str, Decimal] = {line.name: getattr(line.total_usd, end) for line in lines}
    with_steps = sum((usd for name, usd in dollars.items() if name in _WITH_STEPS), Decimal(0))
    with_time = sum((usd for name, usd in dollars.items() if name in _WITH_TIME), Decimal(0))
    once = sum(dollars.values(), Decimal(0)) - with_steps - with_time
    share = with_steps / (with_steps + once) if with_steps else Decimal(0)
    return Split(fixed_usd=once + with_time * (1 - share), per_step_usd=(with_steps + with_time * share) / steps)


def steps_per_epoch(profile: WorkloadProfile) -> float:
    """Optimizer steps that show each training sample (packed: each sequence) once."""
    return max(1.0, profile.data.training_sequences(is_packed=profile.step_length is not None) / profile.batch_size)


def amount_of(profile: WorkloadProfile, steps: int) -> Amount:
    """So many optimizer steps in epochs and in tokens, images or hours of audio."""
    epochs, data = steps / steps_per_epoch(profile), profile.data
    if data.kind == "images":
        return Amount(steps=steps, epochs=epochs, quantity=epochs * data.train_samples, unit="images")
    if data.kind == "audio" and data.mean_seconds is not None:
        hours = data.train_samples * data.mean_seconds / SECONDS_PER_HOUR
        return Amount(steps=steps, epochs=epochs, quantity=epochs * hours, unit="hours of audio")
    return Amount(steps=steps, epochs=epochs, quantity=epochs * profile.tokens_per_epoch, unit="tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    usd: Decimal
    deadline_hours: float | None
    most: int
    """Optimizer steps."""


def _bought(estimate: Estimate, steps: int, limits: _Limits) -> Bought:
    split, surely = (split_of(estimate.lines, steps, end=end) for end in ("expected", "high"))
    within = {
        end: min(part.steps_for(limits.usd, most=limits.most), _steps_in_time(estimate, steps, limits, end))
        for end, part in (("expected", split), ("high", surely))
    }
    return Bought(estimate=estimate, steps=within["expected"], steps_surely=within["high"], split=split)


def _steps_in_time(estimate: Estimate, steps: int, limits: _Limits, end: str) -> int:
    """Steps before the deadline, from the share of the hours that recurs with them."""
    if limits.deadline_hours is None or estimate.hours is None:
        return limits.most
    timed = {line.name: getattr(line.quantity, end) for line in estimate.lines if line.unit == "h"}
    # What grows with time, as preemptions and the waiting after them do, takes its part of either.
    once_h = sum(hours for name, hours in timed.items() if name not in _WITH_STEPS | _WITH_TIME)
    recurring_h = sum(hours for name, hours in timed.items() if name in _WITH_STEPS)
    if not recurring_h:
        return limits.most
    hours: float = getattr(estimate.hours, end)
    share = recurring_h / (once_h + recurring_h)
    left_h = limits.deadline_hours - hours * (1 - share)
    return max(0, min(limits.most, int(left_h / (hours * share) * steps)))
