"""The order of offers: by expected dollars to a finished job, and of rejected ones: nearest to a choice first."""

from __future__ import annotations

from decimal import Decimal

from manager.planner.estimate import REASON_BATCH, REASON_FIT, REASON_PRICE
from manager.planner.limits import REASON_BUDGET, REASON_DEADLINE
from manager.planner.plan import Estimate

_NEAREST_REASONS = (REASON_BUDGET, REASON_DEADLINE, REASON_FIT, REASON_BATCH, REASON_PRICE)


def rank_key(estimate: Estimate) -> tuple[Decimal, float, str, str, str]:
    """Expected dollars, then expected hours, then the offer's identity, so that equal offers keep one order.

    On-demand comes before spot at the same price, since it cannot be preempted.
    """
    cost, hours, offer = estimate.cost_usd, estimate.hours, estimate.offer
    dollars = Decimal("Infinity") if cost is None else cost.expected
    duration = float("inf") if hours is None else hours.expected
    return dollars, duration, "spot" if offer.use_spot else "on-demand", offer.key, offer.price_source


def nearest_first(
    estimate: Estimate, missing_memory_bytes: float | None
) -> tuple[int, float, tuple[Decimal, float, str, str, str]]:
    """By kind of reason, then by how much memory is missing or how much it would cost."""
    kind = (estimate.reason or "").split(":", 1)[0]
    place = _NEAREST_REASONS.index(kind) if kind in _NEAREST_REASONS else len(_NEAREST_REASONS)
    # Bytes are known for every offer that does not fit; other kinds of reasons are ordered among themselves.
    missing = missing_memory_bytes if kind == REASON_FIT and missing_memory_bytes is not None else float("inf")
    return place, missing, rank_key(estimate)
