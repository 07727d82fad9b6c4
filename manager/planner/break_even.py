"""Where a tuning begins to pay: points, months, the dearest sensible run and the dearest sensible serving."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.planner.tuning import Gain, Tuning
from manager.planner.worth_question import POINTS_PER_UNIT, Quantity, Question
from manager.units import MoneyInterval, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Where the net is 0, everything else as expected; None: not asked, or not known."""

    points: Decimal | None
    """Points that have to be gained; 0 where savings alone pay."""
    metric: Decimal | None
    """The present score plus those points; above 1 it cannot be reached."""
    months: Quantity | None
    """Months until it is paid back; see `never` for ends that are not within the horizon."""
    never: tuple[str, ...]
    """Of low, expected, high: the cases in which it is not paid back within the horizon."""
    most_usd_per_run: Decimal | None
    """Largest sensible price of one run; negative: not even free runs would pay."""
    most_serving_usd_per_month: Decimal | None
    """Largest sensible cost of serving; points count where their value is known."""


def break_even(
    question: Question, tuning: Tuning, gain: Gain | None, cost: MoneyInterval | None, *, is_complete: bool
) -> BreakEven:
    """Where the tuning begins to pay; months are not asked for while something is missing."""
    saved = _saved_usd(question)
    worth_of_points = None
    if question.usd_per_point is not None and gain is not None:
        worth_of_points = question.usd_per_point * gain.points.expected
    points = _points_needed(question, cost, saved)
    base = question.baseline
    months, never = _paid_back(question, tuning, gain) if is_complete else (None, ())
    return BreakEven(
        points=points,
        metric=None if points is None or base is None else base + points / POINTS_PER_UNIT,
        months=months,
        never=never,
        most_usd_per_run=_most_per_run(question, saved, worth_of_points),
        most_serving_usd_per_month=_most_serving(question, cost, worth_of_points),
    )


def _saved_usd(question: Question) -> Decimal | None:
    """Present solution less serving over the horizon; 0 where nothing is replaced, None where serving is unknown."""
    if question.replaces_usd_per_month is None:
        return Decimal(0)
    if question.serving_usd_per_month is None:
        return None
    return (question.replaces_usd_per_month - question.serving_usd_per_month) * question.months


def _points_needed(question: Question, cost: MoneyInterval | None, saved: Decimal | None) -> Decimal | None:
    if not question.usd_per_point or cost is None or saved is None:
        return None
    return max(Decimal(0), (cost.expected - saved) / question.usd_per_point)


def _most_per_run(question: Question, saved: Decimal | None, worth_of_points: Decimal | None) -> Decimal | None:
    if saved is None or (question.usd_per_point is not None and worth_of_points is None):
        return None
    value = saved + (worth_of_points or Decimal(0)) - (question.once_usd or Decimal(0))
    return usd(value / (question.runs.expected + question.tunings_again))


def _most_serving(question: Question, cost: MoneyInterval | None, worth_of_points: Decimal | None) -> Decimal | None:
    if question.replaces_usd_per_month is None or cost is None:
        return None
    if question.usd_per_point is not None and worth_of_points is None:
        return None
    return usd(question.replaces_usd_per_month - (cost.expected - (worth_of_points or Decimal(0))) / question.months)


def _paid_back(question: Question, tuning: Tuning, gain: Gain | None) -> tuple[Quantity | None, tuple[str, ...]]:
    """Months until value, counted evenly over the horizon, has paid all tunings so far; the worst case is `high`."""
    price, runs = tuning.run_usd, question.runs
    assert price is not None
    points = Quantity.exactly(0) if gain is None else gain.points
    saved = _saved_usd(question) or Decimal(0)
    per_point = question.usd_per_point or Decimal(0)
    cases = {
        "low": (points.high, runs.low, price.low),
        "expected": (points.expected, runs.expected, price.expected),
        "high": (points.low, runs.high, price.high),
    }
    found = {
        name: _months(question, value_usd=saved + per_point * gained, first=first * each, again=each)
        for name, (gained, first, each) in cases.items()
    }
    never = tuple(name for name, months in found.items() if months is None)
    horizon = Decimal(question.months)
    ends = {name: horizon if months is None else months for name, months in found.items()}
    if len(never) == len(cases):
        return None, never
    return Quantity(low=ends["low"], expected=ends["expected"], high=ends["high"]), never


def _months(question: Question, *, value_usd: Decimal, first: Decimal, again: Decimal) -> Decimal | None:
    """None: not within the horizon."""
    if value_usd <= 0:
        return None
    per_month = value_usd / question.months
    every = question.again_every_months or question.months
    spent = first + (question.once_usd or Decimal(0))
    for start in range(0, question.months, every):
        paid_at = max(spent / per_month, Decimal(start))
        if paid_at <= min(start + every, question.months):
            return round(paid_at, 4)
        spent += again
    return None
