"""Which part of a plan's bill is the machine: what a ledger, which counts hours of machines, can be compared with."""

from __future__ import annotations

from manager.planner.plan import CostLine, Estimate
from manager.units import Interval, MoneyInterval

BILLED_BESIDE = ("disk", "address", "egress", "data_egress", "bucket_egress")
"""Cost lines of what a provider bills besides the machine; the ledger does not see them."""
NOT_BILLED = ("waiting",)
"""Cost lines of time in which there is no machine."""


def planned_machine_usd(estimate: Estimate | None) -> MoneyInterval | None:
    """What a plan expects of the machine alone; None: unknown."""
    if estimate is None or estimate.cost_usd is None:
        return None
    cost, beside = estimate.cost_usd, MoneyInterval.sum(line.total_usd for line in _named(estimate, BILLED_BESIDE))
    return MoneyInterval(
        low=cost.low - beside.low, expected=cost.expected - beside.expected, high=cost.high - beside.high
    )


def planned_billed_hours(estimate: Estimate | None) -> Interval | None:
    """What a plan expects to be billed: launch to machine gone, without waiting for capacity; None: unknown."""
    if estimate is None or estimate.hours is None:
        return None
    hours, waiting = estimate.hours, _named(estimate, NOT_BILLED)
    if not waiting:
        return hours
    return Interval(
        low=hours.low - sum(line.quantity.low for line in waiting),
        expected=hours.expected - sum(line.quantity.expected for line in waiting),
        high=hours.high - sum(line.quantity.high for line in waiting),
    )


def _named(estimate: Estimate, names: tuple[str, ...]) -> list[CostLine]:
    return [line for line in estimate.lines if line.name in names]
