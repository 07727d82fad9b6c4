"""The plan: every offer judged, those that can be chosen in order of dollars to a finished job, the rest with a reason.

The cap is compared with the expected cost, which also ranks, unless the budget asks for more confidence: an offer is
rejected when what it is expected to cost exceeds the cap. Where only the high end does, the offer stays and the plan
says so in a note; the cap itself is then kept by the guard on the machine, which stops the run before it is passed.
The deadline is compared in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from decimal import Decimal

from manager.catalog.accelerators import Accelerator
from manager.catalog.accelerators import accelerator as accelerator_of_catalog
from manager.planner.assumptions import Assumptions
from manager.planner.calibration import Calibration, calibration_of
from manager.planner.estimate import Verdict, memory_factor_of, verdict
from manager.planner.fixed_phases import FETCH
from manager.planner.judge import Judgement, judge_shape
from manager.planner.limits import REASON_REGION, Wishes, beyond_limits, binding_cap, explain_no_choice
from manager.planner.market_index import MarketIndex, Seat
from manager.planner.phases import PhaseBook
from manager.planner.plan import BudgetCap, Estimate, Plan, under_cap
from manager.planner.rank import rank_key
from manager.planner.ranking import Judged, Ranking, Rejected, estimate_of, rank
from manager.planner.shape import Shape
from manager.planner.storage import EGRESS
from manager.planner.traffic import NOWHERE, Places
from manager.planner.variant import StepVariant
from manager.prices.offer import Offer
from manager.prices.price_rules import RULES
from manager.spec.model import Budget, RunSpec, Where, spec_content
from manager.units import apart_usd, format_hours, format_usd
from manager.workload.profile import WorkloadProfile

__all__ = ["Planner", "explain_no_choice"]

KEPT_OFFERS = 200
KEPT_REJECTED = 100
"""In a plan; a market of tens of thousands of prices would make it a file of hundreds of megabytes."""
_ID_LENGTH = 12


class Planner:
    """Judges the machines of a market for one job and remembers: other limits are then answered at once."""

    def __init__(
        self,
        index: MarketIndex,
        variants: Sequence[StepVariant],
        *,
        assumptions: Assumptions,
        calibration: Sequence[Calibration] = (),
        accelerator: Callable[[str], Accelerator | None] = accelerator_of_catalog,
        places: Places = NOWHERE,
    ) -> None:
        """Nothing is judged yet.

        Args:
            index: of the market.
            variants: of the job, the one that was asked for first.
            assumptions: what estimates take for granted.
            calibration: what measured runs say about devices.
            accelerator: looks up specifications; the catalog's by default.
            places: in whose buckets data and results are.
        """
        self.index = index
        self.variants = tuple(variants)
        self.assumptions = assumptions
        self._calibration = calibration
        self._accelerator = accelerator
        self.book = PhaseBook(assumptions=assumptions, places=places)
        self._calibrations: dict[tuple[str, str | None], Calibration | None] = {}
        self._judgements: dict[tuple[Shape, float, bool], Judgement] = {}
        self._verdicts: dict[tuple[Shape, str, bool, bool, str | None], Verdict] = {}

    def card(self, shape: Shape) -> Accelerator | None:
        """Specification of a shape's card; None: it has none, or it is not in our table."""
        return None if shape.card is None else self._accelerator(shape.card)

    def time_factor(self, cloud: str, accelerator: str | None) -> float:
        """By which own runs on such a machine took longer than estimated; 1 where there were none."""
        calibration = self._calibration_of(cloud, accelerator)
        return 1.0 if calibration is None else calibration.time_factor

    def rank(self, where: Where, budget: Budget) -> Ranking:
        """All offers under these wishes and limits."""
        wishes = Wishes.of(where)
        judged: list[Judged] = []
        unwanted: list[Rejected] = []
        for seat in self.index.seats:
            rental = seat.rental
            if not rental.quotes:
                continue
            refusal = wishes.refusal(rental)
            if refusal is not None:
                unwanted.append(Rejected(rental, 1, None, rental.quotes[0], refusal))
                continue
            judged.extend(
                Judged(rental, num_nodes, self.verdict(seat, num_nodes, on_paper=where.on_paper))
                for num_nodes in seat.node_counts(where.max_nodes)
            )
        return rank(judged, unwanted, where, budget)

    def verdict(self, seat: Seat, num_nodes: int = 1, *, on_paper: bool = True) -> Verdict:
        """What the job is on so many nodes of a rental, whatever their price.

        Args:
            seat: the rental.
            num_nodes: of it.
            on_paper: whether it is estimated where the training program does not run too.
        """
        rental = seat.rental
        shape = seat.shape if num_nodes == 1 else seat.shape._replace(num_nodes=num_nodes)
        # Two names of one card may have own runs of their own.
        calibration = self._calibration_of(rental.cloud, rental.accelerator)
        key = (shape, rental.cloud, rental.use_spot, on_paper, None if calibration is None else calibration.device)
        known = self._verdicts.get(key)
        if known is None:
            known = self._verdicts[key] = verdict(
                self._judgement(shape, memory_factor_of(calibration), on_paper=on_paper),
                self.book,
                cloud=rental.cloud,
                use_spot=rental.use_spot,
                calibration=calibration,
            )
        return known

    def find(self, key: str, where: Where, budget: Budget) -> Estimate | None:
        """The estimate of the offer with this key, chosen or rejected; None when the market has none such."""
        found = (
            self._told(seat, offer, where, budget)
            for seat in self.index.seats
            if key.startswith(f"{seat.rental.cloud}/") and f"/{seat.rental.instance_type or '-'}/" in key
            for quote in seat.rental.quotes
            for num_nodes in seat.node_counts(where.max_nodes)
            if (offer := seat.rental.offer(quote, num_nodes)).key == key
        )
        # Zones may differ in price, and machines in what no key tells.
        return min(found, key=lambda estimate: (estimate.reason is not None, rank_key(estimate)), default=None)

    def _told(self, seat: Seat, offer: Offer, where: Where, budget: Budget) -> Estimate:
        """The estimate of an offer, with the reason that rules it out under these wishes and limits, if one does."""
        wishes = Wishes.of(where)
        estimate = estimate_of(self.verdict(seat, offer.num_nodes), offer, on_paper=where.on_paper)
        refusal = wishes.refusal(seat.rental)
        if refusal is None and not wishes.allows_region(offer.region):
            refusal = f"{REASON_REGION}: {offer.region or 'not named'}"
        return replace(estimate, reason=refusal or estimate.reason or beyond_limits(budget, estimate))

    def keys_with(self, text: str, where: Where) -> list[str]:
        """Keys of offers, of several machines too where these may be taken, that hold a text, each once."""
        keys = {
            seat.rental.offer(quote, num_nodes).key
            for seat in self.index.seats
            for quote in seat.rental.quotes
            for num_nodes in seat.node_counts(where.max_nodes)
        }
        return sorted(key for key in keys if text in key)

    def _judgement(self, shape: Shape, memory_factor: float, *, on_paper: bool) -> Judgement:
        key = (shape, memory_factor, on_paper)
        known = self._judgements.get(key)
        if known is None:
            card = self.card(shape)
            known = self._judgements[key] = judge_shape(
                self.variants,
                shape,
                card,
                self.assumptions,
                memory_factor=memory_factor,
                estimates_refused=on_paper,
            )
        return known

    def _calibration_of(self, cloud: str, accelerator: str | None) -> Calibration | None:
        if not self._calibration:
            return None
        key = (cloud, accelerator)
        if key not in self._calibrations:
            self._calibrations[key] = calibration_of(cloud, accelerator, self._calibration)
        return self._calibrations[key]


def plan_of(
    planner: Planner,
    spec: RunSpec,
    *,
    created_at_s: float,
    notes: Sequence[str],
    budget_left: BudgetCap | None = None,
    kept_offers: int = KEPT_OFFERS,
    kept_rejected: int = KEPT_REJECTED,
) -> Plan:
    """The plan of a job under the limits of its run file and what a budget leaves; the choice is the cheapest offer."""
    budget_cap = binding_cap(spec.budget, budget_left)
    limits = under_cap(spec.budget, budget_cap)
    ranking = planner.rank(spec.where, limits)
    chosen = ranking.top(kept_offers)
    plan = Plan(
        plan_id="",
        created_at_s=created_at_s,
        spec=spec,
        profile=_profile_of(planner, chosen),
        offers=tuple(chosen),
        chosen=0 if chosen else None,
        rejected=tuple(ranking.nearest_rejected(kept_rejected)),
        notes=(*notes, *_own_notes(limits, budget_cap, chosen)),
        offers_total=ranking.offers_total,
        rejected_total=sum(ranking.counts.values()),
        reasons=ranking.reason_counts(),
        pareto=tuple(ranking.pareto()),
        budget_cap=budget_cap,
    )
    return replace(plan, plan_id=_content_hash(plan))


def _profile_of(planner: Planner, chosen: Sequence[Estimate]) -> WorkloadProfile:
    """What the chosen variant demands; that of the first where none can be chosen."""
    profiles = [variant.profile for variant in planner.variants]
    if not chosen:
        return profiles[0]
    best = (chosen[0].precision, chosen[0].gradient_checkpointing)
    return next(profile for profile in profiles if (profile.precision, profile.gradient_checkpointing) == best)


def _own_notes(limits: Budget, budget_cap: BudgetCap | None, chosen: Sequence[Estimate]) -> list[str]:
    notes = []
    if budget_cap is not None:
        notes.append(budget_cap.note)
    if not chosen:
        return notes
    best, cap, deadline = chosen[0], limits.max_usd, limits.deadline_hours
    if cap is not None and best.cost_usd is not None and best.cost_usd.high > cap:
        high, most = apart_usd(best.cost_usd.high, cap)
        notes.append(
            f"the chosen offer may cost up to {high}, more than the cap of "
            f"{most}: the run is stopped at the cap, perhaps before its last step"
        )
    if deadline is not None and best.hours is not None and best.hours.high > deadline:
        notes.append(
            f"the chosen offer may take up to {format_hours(best.hours.high)}, "
            f"longer than the deadline of {format_hours(deadline)}"
        )
    home = sum((line.total_usd.expected for line in best.lines if line.name in (FETCH, EGRESS)), Decimal(0))
    if best.cost_usd is not None and home > best.cost_usd.expected / 2:
        notes.append(
            f"{format_usd(home)} of {format_usd(best.cost_usd.expected)} are for bringing the tuned model home: the "
            "machine waits for it, and where its provider bills traffic that is on top"
        )
    notes.extend(f"the price of the chosen offer: {RULES[flag]}" for flag in best.offer.flags if flag in RULES)
    if best.on_paper is not None:
        notes.append(f"the chosen offer cannot be launched: {best.on_paper}")
    return notes


def _content_hash(plan: Plan) -> str:
    """The same question and the same answer give the same id, whenever they were asked."""
    answers = [_digest(estimate) for estimate in (*plan.offers, *plan.rejected)]
    totals = [plan.offers_total, plan.rejected_total]
    content = {"spec": spec_content(plan.spec), "profile": asdict(plan.profile), "answers": answers, "totals": totals}
    text = json.dumps(content, sort_keys=True, default=_plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def _digest(estimate: Estimate) -> list[str]:
    """All of an estimate that may differ between two plans of one question; notes and sources apart."""
    cost, hours = estimate.cost_usd, estimate.hours
    price, how = estimate.offer.price_usd_per_hour, estimate
    money = () if cost is None else (cost.low, cost.expected, cost.high)
    times = () if hours is None else (hours.low, hours.expected, hours.high)
    configuration = (how.precision, how.gradient_checkpointing, how.sharding, how.micro_batch, how.accumulation)
    return [
        estimate.offer.key,
        "" if price is None else str(price.normalize()),
        *(str(amount.normalize()) for amount in money),
        *(repr(time) for time in times),
        *(str(part) for part in (*configuration, how.disk_gib, how.checkpoint_every_steps)),
        estimate.estimator,
        estimate.on_paper or "",
        estimate.reason or "",
    ]


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value.normalize())
    raise TypeError(f"{type(value).__name__} in a plan")
