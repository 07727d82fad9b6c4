"""What machine time costs: per second, at the price agreed at launch. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from manager.runs.records import LAUNCH_ATTEMPT, Charge
from manager.units import SECONDS_PER_HOUR, usd


def charge(
    *, from_s: float, to_s: float, price_usd_per_hour: Decimal | None, at_s: float, what: str = "machine"
) -> Charge:
    """The charge for one stretch of billed time, Unix times in seconds.

    The amount is F(to_s) - F(from_s) with F(t) = price x t / 3600 rounded to a micro-dollar. Charges that touch
    therefore add up without a rounding error of their own: however often a run is charged, the sum is within a
    micro-dollar of price x time.

    Raises:
        ValueError: the stretch ends before it starts, or the price is negative.
    """
    if to_s < from_s:
        raise ValueError(f"a stretch of machine time cannot end ({to_s}) before it starts ({from_s})")
    if price_usd_per_hour is not None and price_usd_per_hour < 0:
        raise ValueError(f"price below zero: {price_usd_per_hour}")
    amount = (
        None if price_usd_per_hour is None else _meter(to_s, price_usd_per_hour) - _meter(from_s, price_usd_per_hour)
    )
    return Charge(
        at_s=at_s, from_s=from_s, to_s=to_s, price_usd_per_hour=price_usd_per_hour, amount_usd=amount, what=what
    )


def given_back_usd(charges: Iterable[Charge]) -> Decimal:
    """What a launch cost before it had the machine that trains: a cap has so much less for that one.

    An amount that is unknown counts as nothing: no cap is kept where a price is unknown.
    """
    had = (one.amount_usd for one in charges if one.what == LAUNCH_ATTEMPT and one.amount_usd is not None)
    return sum(had, Decimal(0))


def _meter(time_s: float, price_usd_per_hour: Decimal) -> Decimal:
    """Reading of a meter that has run at this price since 1970."""
    return usd(price_usd_per_hour * Decimal(time_s) / SECONDS_PER_HOUR)
