"""Plan as JSON, schema 1: the published form of `tunefare plan --json`, of the saved plan and of the ledger.

Numbers: dollars and prices are JSON numbers. They have at most 15 significant digits, so that the shortest text of the
binary number is the decimal itself and reading gives the same `Decimal` back; a figure with more digits is written as
a string. Readers should still take dollars for decimals (`json.loads(..., parse_float=Decimal)`); `plan_from_json`
accepts numbers, decimals and strings. None is null and means unknown. Fields may be added within a schema; readers
skip those that they do not know. A newer schema is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any

from manager.errors import SpecError
from manager.planner.decode import decoded
from manager.planner.plan import (
    OLD_ESTIMATOR,
    PLAN_VERSION,
    Assumption,
    BudgetCap,
    CostLine,
    Estimate,
    HostBytes,
    Plan,
    ReasonCount,
)
from manager.planner.spot_break_even import SpotBreakEven
from manager.planner.what_if import LimitCost
from manager.prices.offer import Offer
from manager.spec.model import RunSpec
from manager.units import Interval, MoneyInterval
from manager.workload.memory_answer import MEMORY_LINES, MemoryAnswer
from manager.workload.profile import WorkloadProfile

Json = dict[str, Any]


def plan_to_json(plan: Plan) -> Json:
    """The plan in its published form, JSON values only; `profile.peak_memory_bytes` is that of the chosen offer."""
    choice = plan.choice
    memory = None if choice is None else choice.memory
    return {
        "schema": PLAN_VERSION,
        "plan_id": plan.plan_id,
        "created_at_s": plan.created_at_s,
        "spec": _plain(asdict(plan.spec)),
        "profile": {
            **_plain(asdict(plan.profile)),
            "peak_memory_bytes": None if memory is None else memory.total_bytes,
        },
        "offers": [estimate_to_json(estimate) for estimate in plan.offers],
        "chosen": plan.chosen,
        "rejected": [estimate_to_json(estimate) for estimate in plan.rejected],
        "notes": list(plan.notes),
        "offers_total": len(plan.offers) if plan.offers_total is None else plan.offers_total,
        "rejected_total": len(plan.rejected) if plan.rejected_total is None else plan.rejected_total,
        "reasons": [asdict(count) for count in plan.reasons],
        "pareto": [estimate_to_json(estimate) for estimate in plan.pareto],
        "budget_cap": None if plan.budget_cap is None else _plain(asdict(plan.budget_cap)),
    }


def plan_from_json(record: Json) -> Plan:
    """The plan behind its published form; the inverse of `plan_to_json`.

    Raises:
        SpecError: a newer schema, or not a plan.
    """
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(schema, int):
        raise SpecError("not a plan: no schema", hint="make a plan with `tunefare plan --json`")
    if schema > PLAN_VERSION:
        raise SpecError(
            f"the plan has schema {schema}, newer than {PLAN_VERSION}", hint="upgrade tunefare, or make the plan again"
        )
    try:
        return Plan(
            plan_id=str(record["plan_id"]),
            created_at_s=float(record["created_at_s"]),
            spec=decoded(RunSpec, record["spec"]),
            profile=decoded(WorkloadProfile, record["profile"]),
            offers=tuple(estimate_from_json(entry) for entry in record["offers"]),
            chosen=record["chosen"],
            rejected=tuple(estimate_from_json(entry) for entry in record["rejected"]),
            notes=tuple(record["notes"]),
            offers_total=record.get("offers_total"),
            rejected_total=record.get("rejected_total"),
            reasons=tuple(decoded(ReasonCount, entry) for entry in record.get("reasons", ())),
            pareto=tuple(estimate_from_json(entry) for entry in record.get("pareto", ())),
            budget_cap=None if record.get("budget_cap") is None else decoded(BudgetCap, record["budget_cap"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise SpecError(
            f"the plan cannot be read: {error!r}", hint="make the plan again with `tunefare plan`"
        ) from error


def plan_to_text(plan: Plan) -> str:
    """The published form as one line of JSON."""
    return json.dumps(plan_to_json(plan), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plan_from_text(text: str) -> Plan:
    """The inverse of `plan_to_text`.

    Raises:
        SpecError: no JSON, a newer schema, or not a plan.
    """
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"the plan is no JSON: {error}", hint="make the plan again with `tunefare plan`") from error
    return plan_from_json(record)


def estimate_to_json(estimate: Estimate) -> Json:
    """One offer's answer in its published form."""
    offer, memory = estimate.offer, estimate.memory
    return {
        "cloud": offer.cloud,
        "region": offer.region,
        "zones": list(offer.zones),
        "instance_type": offer.instance_type,
        "accelerator": offer.accelerator,
        "accelerator_count": offer.accelerator_count,
        "accelerator_memory_bytes": offer.accelerator_memory_bytes,
        "num_nodes": offer.num_nodes,
        "vcpus": offer.vcpus,
        "host_memory_bytes": offer.host_memory_bytes,
        "use_spot": offer.use_spot,
        "price_usd_per_hour": _money(offer.price_usd_per_hour),
        "price_source": offer.price_source,
        "price_age_s": offer.price_age_s,
        "flags": list(offer.flags),
        "fits": estimate.fits,
        "micro_batch": estimate.micro_batch,
        "accumulation": estimate.accumulation,
        "precision": estimate.precision,
        "gradient_checkpointing": estimate.gradient_checkpointing,
        "sharding": estimate.sharding,
        "peak_memory_bytes": None if memory is None else _memory_to_json(memory),
        "host_bytes": None if estimate.host_bytes is None else asdict(estimate.host_bytes),
        "hours": _interval_to_json(estimate.hours),
        "training_hours": _interval_to_json(estimate.training_hours),
        "cost_usd": _cost_to_json(estimate),
        "assumptions": [{"name": assumed.name, "text": assumed.text} for assumed in estimate.assumptions],
        "calibration_factor": estimate.calibration_factor,
        "estimator": estimate.estimator,
        "disk_gib": estimate.disk_gib,
        "checkpoint_every_steps": estimate.checkpoint_every_steps,
        "preemptions": _interval_to_json(estimate.preemptions),
        "on_paper": estimate.on_paper,
        "reason": estimate.reason,
    }


def limit_costs_to_json(costs: Sequence[LimitCost]) -> list[Json]:
    """What limits cost, in published form: `best` is null where nothing can be chosen then."""
    return [_limit_cost_to_json(cost) for cost in costs]


def break_even_to_json(found: SpotBreakEven | None) -> Json | None:
    """Where spot stops paying, in published form; null for offers on demand and where the job does not run."""
    return None if found is None else dict(_plain(asdict(found)))


def _limit_cost_to_json(cost: LimitCost) -> Json:
    best = cost.best
    return {
        "change": cost.change,
        "is_relaxed": cost.is_relaxed,
        "best": None if best is None else best.offer.key,
        "cost_usd": None if best is None or best.cost_usd is None else _money(best.cost_usd.expected),
        "hours": None if best is None or best.hours is None else best.hours.expected,
        "added_usd": _money(cost.added_usd),
        "added_hours": cost.added_hours,
    }


def _cost_to_json(estimate: Estimate) -> Json | None:
    cost = estimate.cost_usd
    if cost is None:
        return None
    return {**_money_interval_to_json(cost), "lines": [_line_to_json(line) for line in estimate.lines]}


def _line_to_json(line: CostLine) -> Json:
    return {
        "name": line.name,
        "quantity": _interval_to_json(line.quantity),
        "unit": line.unit,
        "unit_price_usd": _money(line.unit_price_usd),
        "total_usd": _money_interval_to_json(line.total_usd),
        "assumption": line.assumption,
    }


def _interval_to_json(interval: Interval | None) -> Json | None:
    if interval is None:
        return None
    return {"low": interval.low, "expected": interval.expected, "high": interval.high}


def _money_interval_to_json(interval: MoneyInterval) -> Json:
    return {"low": _money(interval.low), "expected": _money(interval.expected), "high": _money(interval.high)}


def _money(value: Decimal | None) -> float | str | None:
    """A JSON number where it reads back as the same decimal, else its digits as text."""
    if value is None:
        return None
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return _money(value) if isinstance(value, Decimal) else value


def estimate_from_json(record: Json) -> Estimate:
    """The inverse of `estimate_to_json`; KeyError, TypeError or ValueError where the record is none."""
    cost, memory = record["cost_usd"], record["peak_memory_bytes"]
    return Estimate(
        offer=decoded(Offer, record),
        fits=record["fits"],
        micro_batch=record["micro_batch"],
        memory=None if memory is None else _memory_from_json(memory),
        host_bytes=_host_from_json(record.get("host_bytes")),
        hours=_interval_from_json(record["hours"]),
        training_hours=_interval_from_json(record["training_hours"]),
        cost_usd=None if cost is None else decoded(MoneyInterval, cost),
        lines=() if cost is None else tuple(decoded(CostLine, line) for line in cost["lines"]),
        assumptions=tuple(decoded(Assumption, entry) for entry in record["assumptions"]),
        calibration_factor=record["calibration_factor"],
        estimator=record.get("estimator", OLD_ESTIMATOR),
        precision=record.get("precision"),
        gradient_checkpointing=record.get("gradient_checkpointing"),
        sharding=record.get("sharding", "none"),
        accumulation=record.get("accumulation"),
        disk_gib=record.get("disk_gib"),
        checkpoint_every_steps=record.get("checkpoint_every_steps"),
        preemptions=_interval_from_json(record.get("preemptions")),
        on_paper=record.get("on_paper"),
        reason=record["reason"],
    )


def _host_from_json(record: Json | int | None) -> HostBytes | None:
    """Also of a plan from before the need had a range."""
    if isinstance(record, int):
        return HostBytes(low=record, expected=record, high=record, moment="its highest moment", basis="not told")
    return None if record is None else decoded(HostBytes, record)


def _interval_from_json(record: Json | None) -> Interval | None:
    return None if record is None else decoded(Interval, record)


def _memory_to_json(memory: MemoryAnswer) -> Json:
    return {
        **asdict(memory),
        "allocated_bytes": memory.allocated_bytes,
        "reserved_bytes": memory.reserved_bytes,
        "needed_bytes": memory.needed_bytes,
        "total": memory.total_bytes,
    }


def _memory_from_json(record: Json) -> MemoryAnswer:
    """Also of a plan from before steps were traced, which had fewer lines and the peak of training alone."""
    if "phase" in record:
        return decoded(MemoryAnswer, record)
    lines = {name: int(record.get(name, 0)) for name in MEMORY_LINES}
    total = sum(lines.values())
    return MemoryAnswer(
        phase="backward",
        **lines,
        reclaimable_bytes=0,
        training_bytes=total,
        evaluation_bytes=0,
        save_bytes=0,
        host_bytes=0,
        basis="closed formulas",
    )
