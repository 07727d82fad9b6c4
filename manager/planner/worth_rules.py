"""What to do: seven rules, tried in order, over the arithmetic of the job as asked and of its alternatives.

Rules never guess a gain: an alternative that no own run has measured is compared at the gain of the job as asked, and
the reason says "if it gains as much". They stand in docs/worth.md in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from manager.planner.tuning import FROZEN, LORA, SMALLER, Tuning
from manager.planner.worth import Worth
from manager.planner.worth_question import Question
from manager.units import MoneyInterval, format_usd

_LEAST_CHANGE = (LORA, SMALLER, FROZEN)
"""Order in which alternatives are offered where the job as asked does not pay: the same model first, tuned in depth."""


class Verdict(StrEnum):
    """What is recommended."""

    TUNE = "tune"
    SMALLER = "tune a smaller model"
    FROZEN = "frozen features first"
    DO_NOT = "do not tune"
    UNKNOWN = "not enough known"


_VERDICT_OF_KIND = {SMALLER: Verdict.SMALLER, FROZEN: Verdict.FROZEN}
"""All others are the asked model, tuned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The verdict with its reason."""

    verdict: Verdict
    tuning: Tuning | None
    """What is to be tuned; None where nothing is."""
    rule: int
    """Which rule decided, from 1."""
    reason: str


def recommend(question: Question, asked: Worth, alternatives: Sequence[Worth]) -> Recommendation:
    """The first rule that applies.

    Args:
        question: what the user says.
        asked: the arithmetic of the job as asked.
        alternatives: those of other methods and models, smaller models from large to small.
    """
    paying = _first_paying(alternatives)
    net = asked.net_usd
    if net is None:
        return _unknown(asked, paying)
    better = _measured_better(net, alternatives)
    if better is not None:
        return _found(better, 2, "own runs measured its gain, and its net value is above that of the job as asked")
    if net.low > 0:
        reason = f"even in the worst case it brings {format_usd(net.low)} more than it costs"
        return _found(asked, 3, _if_reached(asked, reason))
    frozen = _cheap_trial(question, asked, alternatives)
    if frozen is not None:
        return _found(frozen, 4, _trial_reason(net, asked, frozen))
    if net.expected > 0:
        reason = (
            f"it is expected to bring {format_usd(net.expected)} more than it costs, but the interval straddles zero: "
            f"in the worst case {format_usd(-net.low)} are lost"
        )
        return _found(asked, 5, _if_reached(asked, reason))
    if paying is not None:
        return _found(paying, 6, f"the job as asked {_loses(net)}; this one {_pays(paying)}")
    return Recommendation(verdict=Verdict.DO_NOT, tuning=None, rule=7, reason=_why_not(net, alternatives))


def _unknown(asked: Worth, paying: Worth | None) -> Recommendation:
    """Rule 1: nothing is recommended on a guess, but what cannot be rented may have a smaller one that pays."""
    missing = "; ".join(asked.missing)
    if asked.tuning.run_usd is None and len(asked.missing) == 1 and paying is not None:
        return _found(paying, 1, f"the job as asked has no offer ({asked.tuning.reason}); this one {_pays(paying)}")
    return Recommendation(verdict=Verdict.UNKNOWN, tuning=None, rule=1, reason=missing)


def _measured_better(net: MoneyInterval, alternatives: Sequence[Worth]) -> Worth | None:
    """Rule 2: a measured gain beats an assumed one; the best of those that beat the job as asked."""
    best, most = None, max(Decimal(0), net.expected)
    for other in alternatives:
        is_measured = other.gain is not None and other.gain.is_measured
        if is_measured and other.net_usd is not None and other.net_usd.expected > most:
            best, most = other, other.net_usd.expected
    return best


def _cheap_trial(question: Question, asked: Worth, alternatives: Sequence[Worth]) -> Worth | None:
    """Rule 4: where it may pay or not and no run has measured the gain, frozen features that cost a fraction."""
    net, price = asked.net_usd, asked.tuning.run_usd
    is_open = net is not None and net.low <= 0 < net.high
    if not is_open or price is None or (asked.gain is not None and asked.gain.is_measured):
        return None
    frozen = next((other for other in alternatives if other.tuning.kind == FROZEN), None)
    if frozen is None or frozen.tuning.run_usd is None or frozen.tuning.measured:
        return None
    return frozen if frozen.tuning.run_usd.expected <= question.trial_share * price.expected else None


def _first_paying(alternatives: Sequence[Worth]) -> Worth | None:
    """Rule 6: the alternative nearest to the job as asked whose net value is expected above zero."""
    for kind in _LEAST_CHANGE:
        for other in alternatives:
            if other.tuning.kind == kind and other.net_usd is not None and other.net_usd.expected > 0:
                return other
    return None


def _found(worth: Worth, rule: int, reason: str) -> Recommendation:
    verdict = _VERDICT_OF_KIND.get(worth.tuning.kind, Verdict.TUNE)
    return Recommendation(verdict=verdict, tuning=worth.tuning, rule=rule, reason=reason)


def _trial_reason(net: MoneyInterval, asked: Worth, frozen: Worth) -> str:
    price, trial = asked.tuning.run_usd, frozen.tuning.run_usd
    assert price is not None
    assert trial is not None
    return (
        f"the net value straddles zero ({format_usd(net.low)} to {format_usd(net.high)}), nothing has measured the "
        f"gain, and a run with frozen features costs {format_usd(trial.expected)} instead of "
        f"{format_usd(price.expected)}: it says what the features alone reach"
    )


def _if_reached(worth: Worth, reason: str) -> str:
    """What the gain rests on, where it enters at all."""
    if worth.gain is None or not any(line.unit == "points" for line in worth.lines):
        return reason
    return f"{reason}; gain {worth.gain.basis}"


def _loses(net: MoneyInterval) -> str:
    return f"is expected to lose {format_usd(-net.expected)}" if net.expected < 0 else "is expected to bring nothing"


def _pays(worth: Worth) -> str:
    net = worth.net_usd
    assert net is not None
    is_measured = worth.gain is None or worth.gain.is_measured
    sure = "" if net.low > 0 else f", though the interval straddles zero (worst {format_usd(net.low)})"
    return f"brings {format_usd(net.expected)} more than it costs{'' if is_measured else ' if it gains as much'}{sure}"


def _why_not(net: MoneyInterval, alternatives: Sequence[Worth]) -> str:
    others = sum(other.net_usd is not None for other in alternatives)
    rest = f", nor would one of {others} alternatives pay" if others else ""
    if net.high <= 0:
        return f"even in the best case it brings nothing beyond its cost (net {format_usd(net.high)}){rest}"
    return (
        f"it {_loses(net)}; the interval straddles zero: only in the best case {format_usd(net.high)} are gained{rest}"
    )
