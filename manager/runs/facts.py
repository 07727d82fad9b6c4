"""What a list of runs needs of a run's plan, as columns of `run_facts` and `estimates`.

Read from the plan's published form and not from the whole plan: of an old ledger every plan passes through here once,
and one that cannot be read any more must not keep the ledger from opening.
"""

from __future__ import annotations

import json
from decimal import InvalidOperation
from typing import Any

from manager.planner.codec import estimate_from_json
from manager.planner.decode import decoded
from manager.planner.machine_share import planned_billed_hours, planned_machine_usd
from manager.planner.plan import Estimate
from manager.prices.offer import Offer, position_of
from manager.runs.rows import Row, money_to_text, offer_to_json

PlanJson = dict[str, Any]
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, InvalidOperation)


def read_plan(plan_json: str) -> PlanJson:
    """The published form of a plan; empty where the text is none."""
    try:
        plan = json.loads(plan_json)
    except ValueError:
        return {}
    return plan if isinstance(plan, dict) else {}


def fact_row(plan: PlanJson) -> Row:
    """To (name, project, task, model, method, steps); None where the plan does not say it."""
    spec, profile = _part(plan, "spec"), _part(plan, "profile")
    model, method = _part(spec, "model").get("source"), _part(spec, "method").get("kind")
    steps = profile.get("steps")
    texts = (spec.get("name"), spec.get("project"), spec.get("task"), model, method)
    return (*(text if isinstance(text, str) else None for text in texts), steps if isinstance(steps, int) else None)


def estimate_row(plan: PlanJson, taken: Offer | None) -> Row | None:
    """To (offer_json, machine, price_usd_per_hour, usd_low, usd_expected, usd_high, machine_usd, hours_low,
    hours_expected, hours_high, billed_hours): the plan's figures for the offer taken, for its choice before a launch.

    Figures are None for an offer that the plan does not know; the row is None where nothing was chosen nor taken.
    """
    try:
        estimate = _estimate(plan, taken)
    except _UNREADABLE:
        estimate = None
    offer = taken or (None if estimate is None else estimate.offer)
    if offer is None:
        return None
    cost, hours = (None, None) if estimate is None else (estimate.cost_usd, estimate.hours)
    machine, billed = planned_machine_usd(estimate), planned_billed_hours(estimate)
    return (
        offer_to_json(offer),
        offer.short_name,
        money_to_text(offer.price_usd_per_hour),
        *((None, None, None) if cost is None else map(money_to_text, (cost.low, cost.expected, cost.high))),
        None if machine is None else money_to_text(machine.expected),
        *((None, None, None) if hours is None else (hours.low, hours.expected, hours.high)),
        None if billed is None else billed.expected,
    )


def _estimate(plan: PlanJson, taken: Offer | None) -> Estimate | None:
    chosen = None if plan["chosen"] is None else estimate_from_json(plan["offers"][plan["chosen"]])
    if taken is None or (chosen is not None and chosen.offer == taken):
        return chosen
    entries = [*plan["offers"], *plan["rejected"]]
    position = position_of(taken, [decoded(Offer, entry) for entry in entries])
    return None if position is None else estimate_from_json(entries[position])


def _part(plan: PlanJson, name: str) -> PlanJson:
    part = plan.get(name)
    return part if isinstance(part, dict) else {}
