"""What a plan's bill has: phases of its machine, and beyond them disks, addresses, traffic, waiting that nobody bills.

The ledger counts hours of the machine, so that estimates are compared with it without these lines; the report names
them beside, as planned.
"""

from __future__ import annotations

from decimal import Decimal

from manager.planner.machine_share import BILLED_BESIDE, NOT_BILLED
from manager.planner.plan import Estimate
from manager.reports.model import PlannedBeside, PlannedPhase
from manager.reports.timeline import PLAN_LINES


def planned_beside(estimate: Estimate | None) -> tuple[PlannedBeside, ...]:
    """Those lines of a plan, as far as it has them."""
    lines = () if estimate is None else estimate.lines
    return tuple(
        PlannedBeside(name=line.name, quantity=line.quantity.expected, unit=line.unit, cost_usd=line.total_usd.expected)
        for line in lines
        if line.name in (*BILLED_BESIDE, *NOT_BILLED)
    )


def planned_phases(estimate: Estimate | None) -> tuple[PlannedPhase, ...]:
    """Dollars that a plan expects of each phase of its machine, in their order; phases without a line are left out."""
    if estimate is None or estimate.cost_usd is None:
        return ()
    found = {
        phase: [line.total_usd.expected for line in estimate.lines if line.name in names]
        for phase, names in PLAN_LINES.items()
    }
    return tuple(PlannedPhase(name=phase, cost_usd=sum(usd, Decimal(0))) for phase, usd in found.items() if usd)
