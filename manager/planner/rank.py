"""The order of offers that can be chosen: by expected dollars to a finished job."""

from __future__ import annotations

from decimal import Decimal

from manager.planner.plan import Estimate


def rank_key(estimate: Estimate) -> tuple[Decimal, float, str, str, str]:
    """Expected dollars, then expected hours, then the offer's identity, so that equal offers keep one order.

    On-demand comes before spot at the same price, since it cannot be preempted.
    """
    cost, hours, offer = estimate.cost_usd, estimate.hours, estimate.offer
    dollars = Decimal("Infinity") if cost is None else cost.expected
    duration = float("inf") if hours is None else hours.expected
    return dollars, duration, "spot" if offer.use_spot else "on-demand", offer.key, offer.price_source
