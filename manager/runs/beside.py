"""What a run costs besides its machines, which alone the ledger charges. Pure."""

from __future__ import annotations

from decimal import Decimal

from manager.planner.plan import Plan
from manager.planner.storage import side_usd
from manager.prices.offer import Offer
from manager.units import SECONDS_PER_HOUR, usd


def beside_usd(plan: Plan, offer: Offer, billed_s: float) -> Decimal:
    """What the plan counts besides the machine after so many billed seconds, at its high end: disks and addresses by
    the hour, and the traffic home, which is still to come. The cap has to hold it too."""
    estimates = [one for one in plan.offers if one.offer.cloud == offer.cloud]
    same = next((one for one in estimates if one.offer.key == offer.key), next(iter(estimates), None))
    beside = side_usd(() if same is None else same.lines)
    return usd(beside.usd_per_hour * Decimal(max(0.0, billed_s)) / SECONDS_PER_HOUR + beside.usd_once)
