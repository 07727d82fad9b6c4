"""What the user allows: where a job may run, what it may cost, how long it may take; what to say when nothing is
left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from manager.errors import NothingFitsError, OverBudgetError
from manager.planner.estimate import REASON_FIT, REASON_HOST, REASON_PRICE
from manager.planner.plan import Estimate, Plan
from manager.prices.market import Rental
from manager.prices.offer import Offer
from manager.spec.model import CPU, Budget, RunSpec, Where, accelerator_wish
from manager.units import Interval, MoneyInterval, format_hours, format_usd
from manager.workload.host_memory import CHECKPOINT, EXPORT, LOADING

REASON_CLOUD = "cloud not allowed"
REASON_REGION = "region not allowed"
REASON_ACCELERATOR = "accelerator not allowed"
REASON_SPOT = "spot not allowed"
REASON_BUDGET = "over budget"
REASON_DEADLINE = "past deadline"
EVEN = 0.5
"""Confidence at which the expected figures are compared; above it the high ends are."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """`where` made ready for thousands of questions; names are compared without regard to case."""

    clouds: frozenset[str]
    regions: frozenset[str]
    accelerators: tuple[tuple[str, float | None], ...]
    """Names with the number of them that is asked for; None: any."""
    spot: bool

    @staticmethod
    def of(where: Where) -> Wishes:
        """The wishes of a run file."""
        return Wishes(
            clouds=_folded(where.clouds),
            regions=_folded(where.regions),
            accelerators=tuple((name.casefold(), count) for name, count in map(accelerator_wish, where.accelerators)),
            spot=where.spot,
        )

    def refusal(self, rental: Rental) -> str | None:
        """Why they rule out all of a rental, or None."""
        if self.clouds and rental.cloud.casefold() not in self.clouds:
            return f"{REASON_CLOUD}: {rental.cloud}"
        if self.accelerators and not self._wants(rental):
            count = f" x {rental.accelerator_count:g}" if rental.accelerator else ""
            return f"{REASON_ACCELERATOR}: {rental.accelerator or 'none'}{count}"
        if rental.use_spot and not self.spot:
            return f"{REASON_SPOT}: where.spot is false"
        return None

    def allows_region(self, region: str | None) -> bool:
        """Whether a region may be taken."""
        return not self.regions or (region or "").casefold() in self.regions

    def _wants(self, rental: Rental) -> bool:
        name = (rental.accelerator or CPU).casefold()
        return any(name == asked and count in (None, rental.accelerator_count) for asked, count in self.accelerators)


def cost_at(budget: Budget, cost: MoneyInterval) -> Decimal:
    """The end of the interval that is compared with the cap."""
    return cost.high if budget.confidence > EVEN else cost.expected


def hours_at(budget: Budget, hours: Interval) -> float:
    """The end of the interval that is compared with the deadline."""
    return hours.high if budget.confidence > EVEN else hours.expected


def beyond_limits(budget: Budget, estimate: Estimate) -> str | None:
    """Why the budget rules a priced estimate out, or None."""
    cost, hours = estimate.cost_usd, estimate.hours
    cap, deadline = budget.max_usd, budget.deadline_hours
    how = "expected" if budget.confidence <= EVEN else f"at {budget.confidence:.0%}"
    if cap is not None and cost is not None and cost_at(budget, cost) > cap:
        return f"{REASON_BUDGET}: {format_usd(cost_at(budget, cost))} {how}, cap {format_usd(cap)}"
    if deadline is not None and hours is not None and hours_at(budget, hours) > deadline:
        return f"{REASON_DEADLINE}: {format_hours(hours_at(budget, hours))} {how}, deadline {format_hours(deadline)}"
    return None


def refused(offer: Offer, reason: str) -> Estimate:
    """An offer that was not estimated, because the user does not want it."""
    return Estimate(
        offer=offer,
        fits=False,
        micro_batch=None,
        memory=None,
        hours=None,
        training_hours=None,
        cost_usd=None,
        lines=(),
        assumptions=(),
        reason=reason,
    )


def explain_no_choice(plan: Plan) -> NothingFitsError | OverBudgetError:
    """The error for a plan without a choice, naming the constraint that binds and the offer nearest to it."""
    if not plan.rejected:
        return NothingFitsError(
            "there is no offer at all",
            hint="check the price catalogs: `tunefare doctor` says where they are looked for",
        )
    kinds = _kinds(plan)
    nearest = plan.rejected[0]
    if kinds[REASON_BUDGET] or kinds[REASON_DEADLINE]:
        return _over_budget(plan, kinds)
    message = f"none of {sum(kinds.values())} offers can carry the job; nearest is {_named(nearest)}: {nearest.reason}"
    return NothingFitsError(message, hint=_hint(plan, kinds))


def _over_budget(plan: Plan, kinds: Counter[str]) -> OverBudgetError:
    if kinds[REASON_BUDGET]:
        cheapest = next(estimate for estimate in plan.rejected if _kind(estimate) == REASON_BUDGET)
        cost = cheapest.cost_usd
        expected = format_usd(cost.expected if cost else None)
        return OverBudgetError(
            f"the cheapest offer that carries the job, {_named(cheapest)}, is expected to cost {expected}: "
            f"more than the cap of {format_usd(plan.spec.budget.max_usd)}",
            hint="raise budget.max_usd, or train less: fewer epochs, method lora or frozen, a shorter max_length",
        )
    late = [estimate for estimate in plan.rejected if _kind(estimate) == REASON_DEADLINE]
    fastest = min(late, key=lambda estimate: estimate.hours.expected if estimate.hours else float("inf"))
    takes = format_hours(fastest.hours.expected if fastest.hours else None)
    return OverBudgetError(
        f"the fastest offer within the cap, {_named(fastest)}, is expected to take {takes}: "
        f"past the deadline of {format_hours(plan.spec.budget.deadline_hours)}",
        hint="give budget.deadline_hours more room, raise budget.max_usd, or train less",
    )


def _hint(plan: Plan, kinds: Counter[str]) -> str:
    """What to change, for each kind of machine: a card that is too small and a host that is are both told."""
    hints = []
    if kinds[REASON_FIT]:
        hints.append(
            "lower training.max_length or training.batch_size, turn training.gradient_checkpointing on, use precision "
            "bf16-mixed, or method lora"
        )
    if kinds[REASON_HOST]:
        nearest = next(estimate for estimate in plan.rejected if _kind(estimate) == REASON_HOST)
        moment = None if nearest.host_bytes is None else nearest.host_bytes.moment
        hints.append(f"take machines with more of their own memory{_less_on_the_host(plan.spec, moment)}")
    if hints:
        return "; or ".join(hints)
    if kinds[REASON_SPOT] or kinds[REASON_CLOUD] or kinds[REASON_REGION] or kinds[REASON_ACCELERATOR]:
        return "widen `where`: clouds, regions, accelerators or spot"
    if kinds[REASON_PRICE]:
        return "give a price: `local_price_usd_per_hour` for this machine, or newer catalogs with --catalogs"
    return "`tunefare plan` lists each offer with its reason"


def _less_on_the_host(spec: RunSpec, moment: str | None) -> str:
    """What would lower this peak; adapters are merged before the export, which is as large with them as without."""
    if moment == EXPORT and spec.training.precision != "bf16":
        return ", or precision bf16, which halves what is exported"
    if moment == CHECKPOINT and spec.method.kind == "full":
        return ", or method lora, whose checkpoints hold the adapters alone"
    if moment == LOADING:
        return ", or the precision in which the model is stored, which is not converted there"
    return ""


def _kinds(plan: Plan) -> Counter[str]:
    """Rejected offers by kind of reason; those at hand, in a plan from before they were counted."""
    if plan.reasons:
        return Counter({count.reason: count.offers for count in plan.reasons})
    return Counter(_kind(estimate) for estimate in plan.rejected)


def _kind(estimate: Estimate) -> str:
    return (estimate.reason or "").split(":", 1)[0]


def _named(estimate: Estimate) -> str:
    return estimate.offer.key


def _folded(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)
