"""Tuning: one way of tuning for the same data, what a run of it costs, and the points that it gains."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.planner.worth_question import POINTS_PER_UNIT, Quantity, Question
from manager.units import Interval, MoneyInterval

ASKED = "asked"
FROZEN = "frozen"
LORA = "lora"
SMALLER = "smaller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """One way of tuning: the job as asked, or another method or model for the same data."""

    kind: str
    """asked, frozen, lora or smaller."""
    model: str
    method: str
    precision: str
    parameters: int | None
    """None when it could not be planned."""
    run_usd: MoneyInterval | None
    """Of one run on the offer that its plan chose; None when it has none."""
    hours: Interval | None
    offer: str | None
    """Key of the chosen offer."""
    plan_id: str | None
    measured: tuple[float, ...] = ()
    """Scores on the test split of own finished runs of this very tuning."""
    reason: str | None = None
    """Why there are no dollars; None when there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Points that a tuning gains over the present solution."""

    points: Quantity
    basis: str
    is_measured: bool


def gain_of(question: Question, tuning: Tuning) -> Gain | None:
    """Measured by own runs, else as the user says; None where neither, or the present score is unknown."""
    base = question.baseline
    if tuning.measured and base is not None:
        scores = [Decimal(repr(score)) for score in tuning.measured]
        mean = sum(scores, Decimal(0)) / len(scores)
        gained = [round((score - base) * POINTS_PER_UNIT, 4) for score in (min(scores), mean, max(scores))]
        count = "1 own run" if len(scores) == 1 else f"{len(scores)} own runs"
        said = "" if question.target is None else f" (the target of {question.target} was assumed before)"
        points = Quantity(low=gained[0], expected=gained[1], high=gained[2])
        return Gain(points=points, basis=f"measured: {mean:.4f} in {count}{said}", is_measured=True)
    if question.gain_points is not None:
        return Gain(points=question.gain_points, basis="as you expect it", is_measured=False)
    if base is None or question.target is None:
        return None
    hoped = Quantity.exactly((question.target - base) * POINTS_PER_UNIT)
    return Gain(points=hoped, basis=f"from {base} to {question.target}, if the target is reached", is_measured=False)
