"""The frontier of dollars against hours: the offers that none beats in both, and what an hour less costs on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.planner.plan import Estimate

FRONTIER = "none is cheaper and faster than one of these"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierRow:
    """One offer of the frontier."""

    estimate: Estimate
    usd_per_hour_saved: Decimal | None
    """What each hour less costs against the offer before; None for the cheapest, and where a figure is unknown."""


def frontier(pareto: Sequence[Estimate]) -> list[FrontierRow]:
    """The offers of a plan's Pareto front, from the cheapest to the fastest."""
    before: list[Estimate | None] = [None, *pareto]
    return [
        FrontierRow(estimate=one, usd_per_hour_saved=_per_hour_saved(last, one))
        for last, one in zip(before, pareto, strict=False)
    ]


def _per_hour_saved(before: Estimate | None, estimate: Estimate) -> Decimal | None:
    if before is None or before.cost_usd is None or estimate.cost_usd is None:
        return None
    if before.hours is None or estimate.hours is None:
        return None
    saved = before.hours.expected - estimate.hours.expected
    added = estimate.cost_usd.expected - before.cost_usd.expected
    return added / Decimal(repr(saved)) if saved > 0 else None
