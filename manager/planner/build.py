"""The plan: every offer judged, those that can be chosen in order of dollars to a finished job, the rest with a reason.

The cap is compared with the expected cost, which also ranks: an offer is rejected when what it is expected to cost
exceeds the cap. Where only the high end does, the offer stays and the plan says so in a note; the cap itself is then
kept by the guard on the machine, which stops the run before it is passed. The deadline is compared in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from decimal import Decimal

from manager.catalog.accelerators import Accelerator, variant_in
from manager.catalog.accelerators import accelerator as accelerator_of_catalog
from manager.planner.assumptions import Assumptions, shipped_assumptions
from manager.planner.calibration import Calibration, calibration_of
from manager.planner.estimate import Verdict, judge_machine, priced
from manager.planner.limits import beyond_limits, beyond_wishes, explain_no_choice, refused
from manager.planner.machine import is_arm
from manager.planner.plan import Estimate, Plan
from manager.planner.rank import nearest_first, rank_key
from manager.prices.offer import Offer
from manager.spec.model import RunSpec
from manager.units import format_hours, format_usd
from manager.workload.profile import WorkloadProfile
from manager.workload.traces import RunTraces

__all__ = ["explain_no_choice", "make_plan"]

_ID_LENGTH = 12


def make_plan(
    *,
    spec: RunSpec,
    profile: WorkloadProfile,
    traces: RunTraces,
    offers: Sequence[Offer],
    created_at_s: float,
    notes: Sequence[str],
    calibration: Sequence[Calibration] = (),
    assumptions: Assumptions | None = None,
    accelerator: Callable[[str], Accelerator | None] = accelerator_of_catalog,
) -> Plan:
    """Judge all offers and choose the cheapest by expected dollars to a finished job.

    Args:
        spec: what the user wants; its `where` and `budget` filter.
        profile: what the run demands.
        traces: its training step.
        offers: machines with prices, in any order.
        created_at_s: Unix time in seconds, stored in the plan.
        notes: what the user should know of the prices; notes of the planner are added.
        calibration: what measured runs say about devices.
        assumptions: None: the table that ships with the product.
        accelerator: looks up specifications; the catalog's by default.
    """
    judge = _Judge(profile, traces, assumptions or shipped_assumptions(), calibration, accelerator)
    chosen: list[Estimate] = []
    rejected: list[tuple[Estimate, float | None]] = []
    for offer in offers:
        refusal = beyond_wishes(spec, offer)
        if refusal is not None:
            rejected.append((refused(offer, refusal), None))
            continue
        verdict = judge.verdict(offer)
        estimate = priced(offer, verdict)
        reason = estimate.reason or beyond_limits(spec, estimate)
        if reason is None:
            chosen.append(estimate)
        else:
            rejected.append((replace(estimate, reason=reason), verdict.missing_memory_bytes))
    chosen.sort(key=rank_key)
    rejected.sort(key=lambda entry: nearest_first(*entry))
    plan = Plan(
        plan_id="",
        created_at_s=created_at_s,
        spec=spec,
        profile=profile,
        offers=tuple(chosen),
        chosen=0 if chosen else None,
        rejected=tuple(estimate for estimate, _ in rejected),
        notes=(*notes, *_own_notes(spec, chosen)),
    )
    return replace(plan, plan_id=_content_hash(plan))


class _Judge:
    """Remembers one verdict per kind of machine and cloud: thousands of offers share a few hundred of them."""

    def __init__(
        self,
        profile: WorkloadProfile,
        traces: RunTraces,
        assumptions: Assumptions,
        calibration: Sequence[Calibration],
        accelerator: Callable[[str], Accelerator | None],
    ) -> None:
        self._profile = profile
        self._traces = traces
        self._assumptions = assumptions
        self._calibration = calibration
        self._accelerator = accelerator
        self._verdicts: dict[tuple[object, ...], Verdict] = {}

    def verdict(self, offer: Offer) -> Verdict:
        key = _machine_key(offer)
        known = self._verdicts.get(key)
        if known is None:
            name = offer.accelerator
            known = judge_machine(
                self._profile,
                self._traces,
                offer,
                None if name is None else self._accelerator(_card(offer, name)),
                self._assumptions,
                calibration_of(offer.cloud, name, self._calibration),
            )
            self._verdicts[key] = known
        return known


def _card(offer: Offer, name: str) -> str:
    return variant_in(name, instance_type=offer.instance_type, count=offer.accelerator_count)


def _machine_key(offer: Offer) -> tuple[object, ...]:
    """All of an offer that a verdict depends on; a host's size matters without an accelerator only."""
    machine = (
        offer.cloud,
        offer.use_spot,
        offer.accelerator and _card(offer, offer.accelerator),
        offer.accelerator_count,
        offer.accelerator_memory_bytes,
        offer.num_nodes,
        is_arm(offer),
    )
    if offer.accelerator is not None:
        return machine
    return (*machine, offer.vcpus, offer.host_memory_bytes, offer.price_source)


def _own_notes(spec: RunSpec, chosen: Sequence[Estimate]) -> list[str]:
    if not chosen:
        return []
    best, notes = chosen[0], []
    cap, deadline = spec.budget.max_usd, spec.budget.deadline_hours
    if cap is not None and best.cost_usd is not None and best.cost_usd.high > cap:
        notes.append(
            f"the chosen offer may cost up to {format_usd(best.cost_usd.high)}, more than the cap of "
            f"{format_usd(cap)}: the run is stopped at the cap, perhaps before its last step"
        )
    if deadline is not None and best.hours is not None and best.hours.high > deadline:
        notes.append(
            f"the chosen offer may take up to {format_hours(best.hours.high)}, "
            f"longer than the deadline of {format_hours(deadline)}"
        )
    return notes


def _content_hash(plan: Plan) -> str:
    """The same question and the same answer give the same id, whenever they were asked."""
    answers = [_digest(estimate) for estimate in (*plan.offers, *plan.rejected)]
    content = {"spec": asdict(plan.spec), "profile": asdict(plan.profile), "answers": answers}
    text = json.dumps(content, sort_keys=True, default=_plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def _digest(estimate: Estimate) -> list[str]:
    cost = estimate.cost_usd
    price = estimate.offer.price_usd_per_hour
    return [
        estimate.offer.key,
        "" if price is None else str(price.normalize()),
        "" if cost is None else str(cost.expected.normalize()),
        estimate.reason or "",
    ]


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value.normalize())
    raise TypeError(f"{type(value).__name__} in a plan")
