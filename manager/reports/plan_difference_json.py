"""The difference of two plans as JSON values: schema 1, units in the names, null where unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from manager.planner.difference import PlanDifference, Side, percent
from manager.reports.plan_difference import remarks

DIFFERENCE_VERSION = 1


def difference_to_json(found: PlanDifference, *, name: str | None = None, over: Sequence[str] = ()) -> dict[str, Any]:
    """The published form; dollars are numbers, resolved to a millionth.

    Args:
        found: the difference.
        name: what was compared (a file's name); None: nothing but two plans.
        over: sentences on limits that are not kept.
    """
    hours = (None if found.old is None else found.old.hours, found.new.hours)
    return {
        "schema": DIFFERENCE_VERSION,
        "type": "plan_difference",
        "name": name,
        "old": None if found.old is None else _side(found.old),
        "new": _side(found.new),
        "is_empty": found.is_empty,
        "question": [asdict(change) for change in found.question],
        "workload": [asdict(change) for change in found.workload],
        "memory": {
            "machine": found.memory.machine,
            "lines": [
                {**asdict(line), "change_bytes": line.change_bytes}
                for line in (*found.memory.lines, found.memory.total)
            ],
        },
        "hours": {
            "old": None if hours[0] is None else asdict(hours[0]),
            "new": None if hours[1] is None else asdict(hours[1]),
            "change": found.change_hours,
            "change_percent": percent(*(None if each is None else each.expected for each in hours)),
        },
        "cost_usd": [
            {
                "name": line.name,
                "old_usd": _money(line.old_usd),
                "new_usd": _money(line.new_usd),
                "change_usd": _money(line.change_usd),
                "change_percent": percent(line.old_usd, line.new_usd),
            }
            for line in (*found.dollars, found.total)
        ],
        "old_machine_now": _old_machine(found),
        "remarks": list(remarks(found)),
        "over_limit": list(over),
    }


def _side(side: Side) -> dict[str, Any]:
    choice, offer, cost = side.choice, side.offer, side.cost_usd
    return {
        "plan_id": side.plan_id,
        "created_at_s": side.created_at_s,
        "name": side.name,
        "model": side.model,
        "machine": None if offer is None else offer.key,
        "price_usd_per_hour": None if offer is None else _money(offer.price_usd_per_hour),
        "price_source": None if offer is None else offer.price_source,
        "price_age_s": None if offer is None else offer.price_age_s,
        "micro_batch": None if choice is None else choice.micro_batch,
        "precision": None if choice is None else choice.precision,
        "gradient_checkpointing": None if choice is None else choice.gradient_checkpointing,
        "sharding": None if choice is None else choice.sharding,
        "estimator": side.estimator,
        "hours": None if side.hours is None else asdict(side.hours),
        "cost_usd": None if cost is None else {end: _money(value) for end, value in asdict(cost).items()},
        "no_choice": side.no_choice,
    }


def _old_machine(found: PlanDifference) -> dict[str, Any] | None:
    now = found.old_machine_now
    if now is None:
        return None
    return {
        "machine": now.offer.key,
        "hours": None if now.hours is None else now.hours.expected,
        "cost_usd": None if now.cost_usd is None else _money(now.cost_usd.expected),
        "reason": now.reason,
    }


def _money(value: Decimal | None) -> float | None:
    """A millionth of a dollar fits a double exactly enough to be read back."""
    return None if value is None else float(value)
