"""What a user says of the worth of a tuning: metric, gain, value, months; checked once, before anything is planned.

Unknown is None and stays it: neither the present score nor the cost of serving is ever taken as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from manager.errors import UsageError
from tasks.kinds import TASK_KINDS, UNBOUNDED

POINTS_PER_UNIT = 100
"""One point is 0.01 of a metric that is a share of something (accuracy, F1 ...), i.e. one percentage point."""
_MOST_USD = Decimal(10**12)
"""Larger amounts are typing errors, and their sums would no longer be exact."""
_MOST_MONTHS = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number that is not known exactly, in decimals, so that a bill made of it adds up."""

    low: Decimal
    expected: Decimal
    high: Decimal

    @classmethod
    def exactly(cls, value: Decimal | int) -> Self:
        """One number."""
        number = Decimal(value)
        return cls(low=number, expected=number, high=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the user says; what the job costs comes with the plans."""

    metric: str
    """Of the task; points are counted in it."""
    baseline: Decimal | None = None
    """Score of the present solution, 0 to 1; None: unknown."""
    target: Decimal | None = None
    """Score that the tuning is meant to reach; None: not said."""
    gain_points: Quantity | None = None
    """Points that the tuning is expected to gain, said in place of a target."""
    usd_per_point: Decimal | None = None
    """What one point is worth in dollars over all of `months`; None: points are given no value."""
    replaces_usd_per_month: Decimal | None = None
    """What the solution that the tuned model replaces costs today, an API bill say; None: it replaces none."""
    serving_usd_per_month: Decimal | None = None
    """What the tuned model will cost to serve, beyond what is paid anyway; None: unknown."""
    months: int = 12
    """Horizon over which cost and value are counted."""
    once_usd: Decimal | None = None
    """Labelling and people, paid once; None: not counted."""
    again_every_months: int | None = None
    """The model is tuned again so often, one run each time; None: not within the horizon."""
    runs: Quantity
    """Runs until the first tuning is good enough to be used."""
    runs_basis: str
    """Where `runs` comes from."""
    trial_share: Decimal
    """Frozen features are tried first where their run costs at most this share of the job's own."""

    @property
    def tunings_again(self) -> int:
        """Tunings after the first within the horizon."""
        return 0 if self.again_every_months is None else -(-self.months // self.again_every_months) - 1


def checked(question: Question, *, task: str) -> Question:
    """The question, when it can be answered.

    Raises:
        UsageError: nothing is given a value, a figure is impossible, or figures contradict each other.
    """
    _check_metric(question, task)
    _check_scores(question)
    _check_gain(question.gain_points)
    _check_amounts(question)
    _check_months(question)
    _check_value(question)
    return question


def _check_metric(question: Question, task: str) -> None:
    known = TASK_KINDS[task].metrics
    shares = [name for name in known if name not in UNBOUNDED]
    if question.metric not in known:
        raise UsageError(f"there is no metric {question.metric!r} of {task}", hint=f"choose one of {', '.join(known)}")
    counts_points = (question.usd_per_point, question.baseline, question.target, question.gain_points)
    if question.metric in UNBOUNDED and any(figure is not None for figure in counts_points):
        raise UsageError(
            f"{question.metric} is no share, and has no points to count",
            hint=f"--metric {shares[0]}, or leave out what is counted in points and give --replaces-usd-per-month",
        )


def _check_scores(question: Question) -> None:
    for option, score in (("--baseline", question.baseline), ("--target", question.target)):
        if score is not None and not (score.is_finite() and 0 <= score <= 1):
            raise UsageError(
                f"{option} {score} is no {question.metric}", hint="it is a share from 0 to 1, such as 0.81"
            )
    if question.baseline is not None and question.target is not None and question.baseline >= question.target:
        raise UsageError(
            f"the present {question.metric} of {question.baseline} is no less than the target of {question.target}: "
            f"there is nothing to gain",
            hint="give a --target above --baseline, or value the tuning by --replaces-usd-per-month alone",
        )


def _check_gain(gain: Quantity | None) -> None:
    if gain is None:
        return
    ends = (gain.low, gain.expected, gain.high)
    is_possible = all(end.is_finite() and -POINTS_PER_UNIT <= end <= POINTS_PER_UNIT for end in ends)
    if not is_possible or not gain.low <= gain.expected <= gain.high:
        raise UsageError(
            f"--gain-points {','.join(str(end) for end in ends)} is no gain",
            hint="give low,expected,high in points of 0.01, such as 2,5,9; none is beyond 100",
        )


def _check_amounts(question: Question) -> None:
    amounts = (
        ("--usd-per-point", question.usd_per_point),
        ("--replaces-usd-per-month", question.replaces_usd_per_month),
        ("--serving-usd-per-month", question.serving_usd_per_month),
        ("--once-usd", question.once_usd),
    )
    for option, amount in amounts:
        if amount is not None and not (amount.is_finite() and 0 <= amount <= _MOST_USD):
            raise UsageError(f"{option} {amount} is no amount in dollars", hint="give 0 or more, such as 200 or 2.50")


def _check_months(question: Question) -> None:
    for option, months in (("--months", question.months), ("--again-every-months", question.again_every_months)):
        if months is not None and not 1 <= months <= _MOST_MONTHS:
            raise UsageError(f"{option} {months} is no number of months", hint=f"give 1 to {_MOST_MONTHS}")
    ends = (question.runs.low, question.runs.expected, question.runs.high)
    if not all(end.is_finite() for end in ends) or not 1 <= ends[0] <= ends[1] <= ends[2] <= 10**6:
        raise UsageError(
            f"--runs {','.join(str(end) for end in ends)} is no number of runs",
            hint="give how many runs it takes until one is good enough: 3, or low,expected,high as 1,3,10",
        )


def _check_value(question: Question) -> None:
    if question.usd_per_point is None and question.replaces_usd_per_month is None:
        raise UsageError(
            "what the tuning is worth is not said: without a value, cost can be compared with nothing",
            hint="give --usd-per-point (what one point, 0.01 of the metric, is worth over the months), or "
            "--replaces-usd-per-month (what is paid today) with --serving-usd-per-month",
        )
    if question.serving_usd_per_month is not None and question.replaces_usd_per_month is None:
        raise UsageError(
            "--serving-usd-per-month is compared with what is paid today, which is not said",
            hint="add --replaces-usd-per-month (0 if nothing is paid today)",
        )
    if question.usd_per_point is None and question.gain_points is not None:
        raise UsageError("--gain-points has no value without a price of a point", hint="add --usd-per-point")
    if question.target is not None and question.gain_points is not None:
        raise UsageError("the gain is said twice, as a target and in points", hint="give --target or --gain-points")
