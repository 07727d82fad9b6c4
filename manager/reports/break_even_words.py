"""Spot against on demand in words: the rows of the comparison, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from manager.planner.plan import Estimate
from manager.planner.spot_break_even import OnDemand, SpotBreakEven
from manager.prices.offer import Offer
from manager.units import Interval, MoneyInterval, format_hours, format_usd, interval_usd

COLUMNS = ("", "spot", "on demand", "equal at")


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvenWords:
    """The comparison as a table with a title, and sentences under it."""

    title: str
    """Empty where there is no table."""
    rows: tuple[tuple[str, ...], ...]
    """A text for each of COLUMNS."""
    sentences: tuple[str, ...]


def break_even_words(spot: Estimate, found: SpotBreakEven) -> BreakEvenWords:
    """The comparison of a spot offer with the same machine on demand."""
    other, rate = found.on_demand, found.preemptions_per_hour
    if other is None:
        unknown = "on demand: no price of this machine is known, so where spot stops paying cannot be said"
        return BreakEvenWords(title="", rows=(), sentences=(unknown, f"preemptions: {_rate(rate)} an hour assumed"))
    price = f"{format_usd(other.price_usd_per_hour)}/h"
    each = " each machine" if spot.offer.num_nodes > 1 else ""
    return BreakEvenWords(
        title=f"spot against on demand{_where(other, spot.offer)}",
        rows=(
            ("to the finished job", interval_usd(spot.cost_usd), interval_usd(other.cost_usd), ""),
            ("time", _hours(spot.hours), _hours(other.hours), ""),
            ("price, % of on demand", _price(spot.offer, found), price, _even_price(found)),
            (f"preemptions/h{each}", f"{_rate(rate)} assumed", "none", _even_rate(found)),
        ),
        sentences=(_verdict(spot.cost_usd, found),),
    )


def _verdict(spot_usd: MoneyInterval | None, found: SpotBreakEven) -> str:
    """What follows, in a sentence; where an on-demand price is known."""
    even, assumed = found.even_preemptions_per_hour, found.preemptions_per_hour
    if found.is_dearer_without_preemptions is None:
        return f"the spot price is unknown; it would pay below {format_usd(found.even_price_usd_per_hour)}/h"
    if even is None:
        return f"spot costs {'as much' if found.price_share == 1 else 'more'} even without preemptions"
    if even > assumed.high:
        cheaper = "spot is expected to be cheaper, also at the most preemptions assumed"
        return cheaper if _is_safe(spot_usd, found) else f"{cheaper}; with all else at its worst too it is dearer"
    if even > assumed.expected:
        return "spot is expected to be cheaper, but not at the most preemptions assumed"
    return "on demand is expected to be cheaper: spot is preempted too often"


def _is_safe(spot_usd: MoneyInterval | None, found: SpotBreakEven) -> bool:
    """Whether spot is cheaper at the high ends too, at which all goes slowly and preemptions are many."""
    other_usd = None if found.on_demand is None else found.on_demand.cost_usd
    return spot_usd is None or other_usd is None or spot_usd.high <= other_usd.high


def _where(other: OnDemand, offer: Offer) -> str:
    if other.is_same_region:
        return f" in {other.region}" if other.region else ""
    here = f"{offer.region} has" if offer.region else "here it has"
    return f" in {other.region or 'a region without a name'}, the cheapest: {here} no known price on demand"


def _hours(hours: Interval | None) -> str:
    return format_hours(None if hours is None else hours.expected)


def _price(offer: Offer, found: SpotBreakEven) -> str:
    price, share = offer.price_usd_per_hour, found.price_share
    return "unknown" if price is None or share is None else f"{format_usd(price)}/h, {share:.1%}"


def _even_price(found: SpotBreakEven) -> str:
    """The price up to which spot pays at the assumed rate, and its share."""
    usd, share = found.even_price_usd_per_hour, found.even_price_share
    if usd is None or share is None:
        return "unknown"
    return f"{format_usd(usd)}/h, {share:.1%}" if share > 0 else "not even if free"


def _even_rate(found: SpotBreakEven) -> str:
    even = found.even_preemptions_per_hour
    if even is not None:
        return f"{even:.3g}"
    return "unknown" if found.is_dearer_without_preemptions is None else "never"


def _rate(rate: Interval) -> str:
    return f"{rate.expected:.3g} ({rate.low:.3g} to {rate.high:.3g})"
