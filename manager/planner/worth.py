"""What a tuning costs and what it brings, line by line: each line is quantity x unit price, and they add up to the net.

Pure: dollars of a run arrive from plans, value from the user. Low, expected and high of a line are its contribution
to the net in the worst, the expected and the best case; a cost counts negative, and its highest price in the worst
case. Which of several tunings is to be recommended is `worth_rules`'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from manager.planner.break_even import BreakEven, break_even
from manager.planner.tuning import Gain, Tuning, gain_of
from manager.planner.worth_question import Quantity, Question
from manager.units import MoneyInterval, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class WorthLine:
    """One line of the arithmetic."""

    name: str
    quantity: Quantity
    """As it counts in the worst, the expected and the best case: of costs the largest comes first."""
    unit: str
    unit_price_usd: Quantity
    """In the same order, never negative."""
    total_usd: MoneyInterval
    """Contribution to the net: quantity x unit price, negative for costs."""
    basis: str
    """Where the quantity comes from, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The arithmetic of one tuning."""

    tuning: Tuning
    gain: Gain | None
    lines: tuple[WorthLine, ...]
    net_usd: MoneyInterval | None
    """Sum of the lines; None while something is missing."""
    cost_usd: MoneyInterval | None
    """Of all runs, labelling and people: low is the cheapest case. None without dollars of a run."""
    break_even: BreakEven
    missing: tuple[str, ...]
    """What has to be known and why, for people."""


def worth_of(question: Question, tuning: Tuning, *, same_gain: Gain | None = None) -> Worth:
    """The arithmetic of one tuning.

    Args:
        question: checked by `worth_question.checked`.
        tuning: with the dollars of its plan.
        same_gain: that of the asked job, which others are compared at where they have none of their own.
    """
    gain = gain_of(question, tuning)
    if same_gain is not None and not (gain is not None and gain.is_measured):
        # Measured for the job as asked is assumed for any other.
        gain = replace(same_gain, is_measured=False)
    costs, values = _cost_lines(question, tuning), _value_lines(question, gain)
    missing = _missing(question, tuning, gain)
    lines = (*costs, *values)
    cost = None if tuning.run_usd is None else _negated(_sum(costs))
    return Worth(
        tuning=tuning,
        gain=gain,
        lines=lines,
        net_usd=None if missing else _sum(lines),
        cost_usd=cost,
        break_even=break_even(question, tuning, gain, cost, is_complete=not missing),
        missing=missing,
    )


def _cost_lines(question: Question, tuning: Tuning) -> tuple[WorthLine, ...]:
    lines = []
    run = tuning.run_usd
    if run is not None:
        dear_first = Quantity(low=run.high, expected=run.expected, high=run.low)
        runs = question.runs
        most_first = Quantity(low=runs.high, expected=runs.expected, high=runs.low)
        lines.append(_line("first tuning", most_first, "runs", dear_first, question.runs_basis, sign=-1))
        again = question.tunings_again
        if again:
            basis = f"one run every {question.again_every_months} months"
            lines.append(_line("tuned again", Quantity.exactly(again), "runs", dear_first, basis, sign=-1))
    if question.once_usd is not None:
        price = Quantity.exactly(question.once_usd)
        lines.append(_line("labelling and people", Quantity.exactly(1), "time", price, "paid once", sign=-1))
    return tuple(lines)


def _value_lines(question: Question, gain: Gain | None) -> tuple[WorthLine, ...]:
    lines = []
    if question.usd_per_point is not None and gain is not None:
        price = Quantity.exactly(question.usd_per_point)
        lines.append(_line(f"points of {question.metric}", gain.points, "points", price, gain.basis, sign=1))
    months = Quantity.exactly(question.months)
    if question.replaces_usd_per_month is not None:
        price = Quantity.exactly(question.replaces_usd_per_month)
        lines.append(_line("present solution", months, "months", price, "no longer paid", sign=1))
    if question.serving_usd_per_month is not None:
        price = Quantity.exactly(question.serving_usd_per_month)
        lines.append(_line("serving", months, "months", price, "of the tuned model", sign=-1))
    return tuple(lines)


def _missing(question: Question, tuning: Tuning, gain: Gain | None) -> tuple[str, ...]:
    missing = []
    if tuning.run_usd is None:
        missing.append(f"what a run costs: {tuning.reason}")
    if question.usd_per_point is not None and gain is None:
        if question.baseline is None:
            missing.append(f"the {question.metric} of the present solution (--baseline): points are counted from it")
        if question.target is None and not tuning.measured:
            missing.append(
                f"the {question.metric} to be reached (--target, or target: in the run file; or --gain-points): "
                f"no own run has measured it"
            )
    if question.replaces_usd_per_month is not None and question.serving_usd_per_month is None:
        missing.append(
            "what the tuned model costs to serve (--serving-usd-per-month): what is paid today is saved "
            "only as far as that is less"
        )
    return tuple(missing)


def _line(name: str, quantity: Quantity, unit: str, price: Quantity, basis: str, *, sign: int) -> WorthLine:
    total = MoneyInterval(
        low=usd(sign * quantity.low * price.low),
        expected=usd(sign * quantity.expected * price.expected),
        high=usd(sign * quantity.high * price.high),
    )
    return WorthLine(name=name, quantity=quantity, unit=unit, unit_price_usd=price, total_usd=total, basis=basis)


def _sum(lines: tuple[WorthLine, ...]) -> MoneyInterval:
    return MoneyInterval.sum(line.total_usd for line in lines)


def _negated(total: MoneyInterval) -> MoneyInterval:
    """Costs as they are spoken of: positive, the cheapest case first."""
    return MoneyInterval(low=-total.high, expected=-total.expected, high=-total.low)
