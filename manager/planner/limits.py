"""What the user allows: where a job may run, what it may cost, how long it may take; what to say when nothing is
left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from manager.errors import NothingFitsError, OverBudgetError
from manager.planner.estimate import REASON_FIT, REASON_HOST, REASON_PRICE
from manager.planner.plan import BudgetCap, Estimate, Plan
from manager.prices.market import Rental
from manager.prices.offer import Offer
from manager.spec.model import Budget, RunSpec, Where, accelerator_wish
from manager.units import Interval, MoneyInterval, apart_usd, format_hours, format_usd
from manager.workload.host_memory import CHECKPOINT, EXPORT, LOADING

REASON_CLOUD = "cloud not allowed"
REASON_REGION = "region not allowed"
REASON_ACCELERATOR = "accelerator not allowed"
REASON_SPOT = "spot not allowed"
REASON_BUDGET = "over budget"
REASON_DEADLINE = "past deadline"
_UNWANTED = (REASON_CLOUD, REASON_REGION, REASON_ACCELERATOR, REASON_SPOT)


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
        if self.accelerators and not rental.has_accelerator_of(self.accelerators):
            count = f" x {rental.accelerator_count:g}" if rental.accelerator else ""
            return f"{REASON_ACCELERATOR}: {rental.accelerator or 'none'}{count}"
        if rental.use_spot and not self.spot:
            return f"{REASON_SPOT}: where.spot is false"
        return None

    def allows_region(self, region: str | None) -> bool:
        """Whether a region may be taken."""
        return not self.regions or (region or "").casefold() in self.regions


def binding_cap(budget: Budget, left: BudgetCap | None) -> BudgetCap | None:
    """What a budget of the user leaves, where that is less than the run file's own cap."""
    return None if left is None or (budget.max_usd is not None and budget.max_usd <= left.usd) else left


def cost_at(budget: Budget, cost: MoneyInterval) -> Decimal:
    """The end of the interval that is compared with the cap."""
    return cost.high if budget.is_sure else cost.expected


def cost_told(budget: Budget, cost: MoneyInterval) -> str:
    """That end by its name: `$3.10 (expected)`."""
    return f"{format_usd(cost_at(budget, cost))} ({_end_told(budget)})"


def hours_at(budget: Budget, hours: Interval) -> float:
    """The end of the interval that is compared with the deadline."""
    return hours.high if budget.is_sure else hours.expected


def beyond_limits(budget: Budget, estimate: Estimate) -> str | None:
    """Why the budget rules a priced estimate out, or None."""
    cost, hours = estimate.cost_usd, estimate.hours
    cap, deadline = budget.max_usd, budget.deadline_hours
    if deadline is not None and hours is not None and hours_at(budget, hours) > deadline:
        told = f"{format_hours(hours_at(budget, hours))} {_end_told(budget)}"
        return f"{REASON_DEADLINE}: {told}, deadline {format_hours(deadline)}"
    if cap is not None and cost is not None and cost_at(budget, cost) > cap:
        told, most = apart_usd(cost_at(budget, cost), cap)
        return f"{REASON_BUDGET}: {told} {_end_told(budget)}, cap {most}"
    return None


def _end_told(budget: Budget) -> str:
    return f"at {budget.confidence:.0%}" if budget.is_sure else "expected"


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
    if kinds[REASON_BUDGET] or kinds[REASON_DEADLINE]:
        return _over_budget(plan)
    unwanted = sum(kinds[kind] for kind in _UNWANTED)
    wanted, nearest = sum(kinds.values()) - unwanted, plan.rejected[0]
    if not wanted and set(+kinds) == {REASON_CLOUD}:
        return NothingFitsError(
            f"none of {unwanted:,} known offers is of {' or '.join(plan.spec.where.clouds)}",
            hint="widen where.clouds, or set that cloud up: `tunefare doctor` says what there is; SkyPilot's catalogs "
            "bring its prices, a Slurm or Kubernetes cluster has them in SkyPilot's configuration",
        )
    if not wanted:
        told = "; ".join(f"{kinds[kind]:,} {kind}" for kind in _UNWANTED if kinds[kind])
        return NothingFitsError(f"`where` leaves none of {unwanted:,} offers: {told}", hint=_hint(plan, kinds))
    others = f" that `where` leaves of {wanted + unwanted:,}" if unwanted else ""
    message = f"none of {wanted:,} offers{others} can carry the job; nearest is {_named(nearest)}: {nearest.reason}"
    return NothingFitsError(message, hint=_hint(plan, kinds))


def _over_budget(plan: Plan) -> OverBudgetError:
    """Offers that keep to the deadline come first among the rejected, the cheapest of them first; then the fastest."""
    budget, left = plan.limits, plan.budget_cap
    deadline, end = format_hours(budget.deadline_hours), _end_told(budget)
    dear = next((estimate for estimate in plan.rejected if _kind(estimate) == REASON_BUDGET), None)
    late = [estimate for estimate in plan.rejected if _kind(estimate) == REASON_DEADLINE and estimate.hours]
    if budget.max_usd is not None and dear is not None:
        late = [one for one in late if one.cost_usd and cost_at(budget, one.cost_usd) <= budget.max_usd]
    parts = []
    if dear is not None and dear.cost_usd is not None and budget.max_usd is not None:
        in_time = " in time" if budget.deadline_hours is not None else ""
        why = "" if left is None else f": {left.text}"
        told, most = apart_usd(cost_at(budget, dear.cost_usd), budget.max_usd)
        parts.append(
            f"the cheapest offer that carries the job{in_time}, {_named(dear)}, costs "
            f"{told} ({end}): more than the cap of {most}{why}"
        )
    if late and late[0].hours is not None:
        within = " within the cap" if dear is not None else ""
        parts.append(
            f"the fastest offer{within}, {_named(late[0])}, takes {format_hours(hours_at(budget, late[0].hours))} "
            f"({end}): past the deadline of {deadline}"
        )
    raised = "raise budget.max_usd" if left is None else "raise that budget with `tunefare budget set`"
    hints = [raised] if dear is not None else []
    hints += ["give budget.deadline_hours more room"] if late else []
    less = "train less: fewer epochs, method lora or frozen, a shorter max_length"
    return OverBudgetError("; ".join(parts), hint=", ".join((*hints, f"or {less}")))


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
    if any(kinds[kind] for kind in _UNWANTED):
        hints.append("widen `where`: clouds, regions, accelerators or spot")
    if hints:
        return "; or ".join(hints)
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


def kind_of(reason: str) -> str:
    """The reason without its figures, so that equal ones can be counted."""
    return reason.split(":", 1)[0]


def _kind(estimate: Estimate) -> str:
    return kind_of(estimate.reason or "")


def _named(estimate: Estimate) -> str:
    return estimate.offer.key


def _folded(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)
