"""Spot against on demand as a table: what each is expected to cost, and where spot stops paying."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.cli.plan_view import money
from manager.planner.plan import Estimate
from manager.planner.spot_break_even import OnDemand, SpotBreakEven
from manager.prices.offer import Offer
from manager.units import Interval, MoneyInterval, format_hours, format_usd


def print_break_even(spot: Estimate, found: SpotBreakEven, console: Console) -> None:
    """Print the comparison of a spot offer with the same machine on demand, and what follows from it."""
    other, rate = found.on_demand, found.preemptions_per_hour
    console.print()
    if other is None:
        console.print("on demand: no price of this machine is known, so where spot stops paying cannot be said")
        console.print(f"preemptions: {_rate(rate)} an hour assumed")
        console.print()
        return
    # As a title it would be folded to the width of the table.
    console.print(escape(f"spot against on demand{_where(other, spot.offer)}"), style="italic")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for column in ("spot", "on demand", "equal at"):
        table.add_column(column, justify="right")
    table.add_row("to the finished job", money(spot.cost_usd), money(other.cost_usd), "")
    table.add_row("time", _hours(spot.hours), _hours(other.hours), "")
    price = f"{format_usd(other.price_usd_per_hour)}/h"
    table.add_row("price, % of on demand", _price(spot.offer, found), price, _even_price(found))
    each = " each machine" if spot.offer.num_nodes > 1 else ""
    table.add_row(f"preemptions/h{each}", f"{_rate(rate)} assumed", "none", _even_rate(found))
    console.print(table)
    console.print(_verdict(spot.cost_usd, found))
    console.print()


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
