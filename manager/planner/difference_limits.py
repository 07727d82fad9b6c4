"""By how much a plan may become dearer or longer than another: what lies over such a limit, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.planner.difference import PlanDifference, percent
from manager.units import MoneyInterval, format_hours, format_usd

_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """By how much a plan may become dearer or longer; None: no limit."""

    usd: Decimal | None = None
    percent: Decimal | None = None
    """Of the old plan's expected dollars."""
    hours: float | None = None


def exceeded(found: PlanDifference, limits: Limits) -> tuple[str, ...]:
    """What lies over a limit, one sentence each.

    A plan without an old one to compare with is held to the limits with all it costs, percentages apart. Where the old
    plan has no cost, the new cost is the most by which it can have risen. A new plan without a cost is over any limit.
    """
    if limits == Limits():
        return ()
    cost, hours = found.new.cost_usd, found.new.hours
    if cost is None or hours is None:
        return ("what the new plan costs is unknown, so that no limit can be shown to be kept",)
    old_cost = None if found.old is None else found.old.cost_usd
    old_hours = None if found.old is None else found.old.hours
    said = [
        _dollars_over(limits, rise=cost.expected - (old_cost.expected if old_cost else 0)),
        _percent_over(limits, found, old_cost, cost),
        _hours_over(limits, rise=hours.expected - (old_hours.expected if old_hours else 0)),
    ]
    return tuple(sentence for sentence in said if sentence is not None)


def _dollars_over(limits: Limits, *, rise: Decimal) -> str | None:
    if limits.usd is None or rise <= limits.usd:
        return None
    return f"expected dollars rise by {format_usd(rise)}, the limit is {format_usd(limits.usd)}"


def _hours_over(limits: Limits, *, rise: float) -> str | None:
    if limits.hours is None or rise <= limits.hours:
        return None
    return f"expected hours rise by {format_hours(rise)}, the limit is {format_hours(limits.hours)}"


def _percent_over(limits: Limits, found: PlanDifference, old: MoneyInterval | None, new: MoneyInterval) -> str | None:
    if limits.percent is None or found.old is None:
        return None
    if old is None or not old.expected:
        known = "unknown" if old is None else "nothing"
        return f"expected dollars were {known} before, so that no limit in per cent can be shown to be kept"
    # Compared as decimals: a rise of exactly the limit is within it.
    if new.expected * _PERCENT <= old.expected * (_PERCENT + limits.percent):
        return None
    rise, limit = percent(old.expected, new.expected), limits.percent.normalize()
    return f"expected dollars rise by {rise:.1f} %, the limit is {limit:f} %"
