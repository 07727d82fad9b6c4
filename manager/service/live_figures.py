"""From what is remembered of a run to what is told of it: dollars, time left, errors, alarms. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.launch.engine import MachineState
from manager.planner.plan import Estimate, Plan
from manager.runs.beside import beside_usd
from manager.runs.projection import project_hours, project_usd
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.runs.verdict import end_from_history, judge
from manager.service.live_digest import RunDigest
from manager.service.live_run import Alarm, LiveError
from manager.units import SECONDS_PER_HOUR, Interval, MoneyInterval, format_usd
from tasks.protocol import EventType

FROM_PLAN = "the plan"
OUTLASTED = "nothing: it takes longer than planned, and no step is done yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is still to come."""

    usd: MoneyInterval | None
    """Final cost; None: unknown, or the run is over."""
    beside_usd: Decimal
    """Disks, addresses and traffic home by then, as far as `usd` leaves them out."""
    left_s: Interval | None
    """Until the task is through; None: the same."""
    basis: str
    """What both rest on."""


def cost_usd(digest: RunDigest, now_s: float) -> Decimal | None:
    """Machine time until now at the launch price; None: the machine or its price is not known."""
    charged = digest.charged_usd()
    if digest.state is RunState.LAUNCHING and digest.offer is None:
        return None
    if digest.offer is None or digest.state not in MAY_BILL or digest.state is RunState.UNCONFIRMED:
        return charged
    beyond = digest.beyond_charges_usd(now_s)
    return None if charged is None or beyond is None else charged + beyond


def unconfirmed_usd(digest: RunDigest, now_s: float) -> Decimal | None:
    """What a machine whose end is not confirmed may have cost since its last charge."""
    return digest.beyond_charges_usd(now_s) if digest.state is RunState.UNCONFIRMED else None


def billed_beside_usd(plan: Plan, digest: RunDigest, now_s: float) -> Decimal:
    """Disks, addresses and traffic home until now, as planned."""
    if digest.offer is None or digest.billing_started_at_s is None:
        return Decimal(0)
    until_s = digest.history[-1].at_s if digest.state in FINAL else now_s
    return beside_usd(plan, digest.offer, until_s - digest.billing_started_at_s)


def cap_share(cost: Decimal | None, beside: Decimal, cap: Decimal | None) -> float | None:
    """How much of the cap is spent; None without a cap or a known cost."""
    return None if cost is None or not cap else float((cost + beside) / cap)


def projected_cap_share(ahead: Ahead, cap: Decimal | None) -> float | None:
    """How much of the cap is expected to be spent at the end, with what is billed beside the machine; None without a
    cap or a projection."""
    return None if ahead.usd is None else cap_share(ahead.usd.expected, ahead.beside_usd, cap)


def look_ahead(plan: Plan, digest: RunDigest, now_s: float) -> Ahead:
    """Final cost and time left: from the steps so far, before the first from the plan."""
    if digest.state in FINAL or digest.state in {RunState.UNCONFIRMED, RunState.TEARING_DOWN}:
        return Ahead(usd=None, beside_usd=Decimal(0), left_s=None, basis="the run has ended")
    billing = digest.billing_started_at_s
    if billing is not None and digest.offer is not None:
        hours = project_hours(
            digest.progress,
            plan.profile,
            billing_started_at_s=billing,
            now_s=now_s,
            may_end_early=plan.spec.may_end_early,
        )
        if hours is not None:
            steps = digest.progress.steps
            return Ahead(
                usd=project_usd(hours, digest.offer.price_usd_per_hour, before_usd=digest.given_back_usd),
                beside_usd=beside_usd(plan, digest.offer, hours.expected * SECONDS_PER_HOUR),
                left_s=_left_s(hours, now_s - billing),
                basis=f"{steps:,} {'step' if steps == 1 else 'steps'} so far",
            )
    return _from_plan(plan, digest, now_s)


def error_of(digest: RunDigest, run_id: str) -> LiveError | None:
    """Why the run was not through, with what can be done; None while it goes on, and when it was."""
    is_over = digest.state in FINAL or digest.state is RunState.UNCONFIRMED
    events = () if digest.ending is None else (digest.ending,)
    if not is_over and not any(event.type is EventType.FAILED for event in events):
        return None
    verdict = judge(end_from_history(digest.history), events, MachineState.UNKNOWN, run_id=run_id)
    if digest.state is RunState.SUCCEEDED or verdict.error is None:
        return None
    told = digest.history[-1].detail if digest.state in FINAL else None
    return LiveError(message=told or verdict.error.message, hint=verdict.error.hint)


def alarm_of(digest: RunDigest, run_id: str, *, has_client: bool, now_s: float) -> Alarm | None:
    """What may cost money without an end in sight; None when all is well."""
    evidence, state = digest.evidence, digest.state
    if state is RunState.UNCONFIRMED:
        answer = f" {evidence.source}: {evidence.answer}." if evidence is not None else ""
        left = f" Left: {', '.join(evidence.left)}." if evidence is not None and evidence.left else ""
        more = unconfirmed_usd(digest, now_s)
        cost = "" if more is None else f" Up to {format_usd(more)} more since then."
        return Alarm(
            text=f"MAY STILL BE BILLED: the end of {run_id} is not confirmed.{answer}{left}{cost}",
            commands=(f"tunefare reconcile {run_id}", _console(digest)),
        )
    if state in MAY_BILL and not has_client:
        return Alarm(
            text=f"NOBODY SUPERVISES {run_id}: its process at home is gone, and its machine may be billed.",
            commands=(f"tunefare reconcile {run_id}", "tunefare panic"),
        )
    if state is RunState.TEARING_DOWN and evidence is not None and not evidence.confirmed:
        return Alarm(
            text=f"NOT CONFIRMED YET: the provider did not say that the machine is gone ({evidence.answer}). "
            "It is asked again.",
            commands=(f"tunefare show {run_id}", _console(digest)),
        )
    return None


def estimate_of(plan: Plan, digest: RunDigest) -> Estimate | None:
    """The plan's estimate of the machine taken; of the choice before the launch; None where it has none."""
    if digest.offer is None:
        return plan.choice
    key = digest.offer.key
    return next((estimate for estimate in plan.offers if estimate.offer.key == key), None)


def _from_plan(plan: Plan, digest: RunDigest, now_s: float) -> Ahead:
    """The plan's figures, as far as the run has not gone beyond them already."""
    estimate = estimate_of(plan, digest)
    if estimate is None or estimate.hours is None:
        return Ahead(usd=None, beside_usd=Decimal(0), left_s=None, basis=FROM_PLAN)
    begun = next((change.at_s for change in digest.history if change.state is RunState.LAUNCHING), now_s)
    passed_s = now_s - begun
    if passed_s > estimate.hours.high * SECONDS_PER_HOUR:
        return Ahead(usd=None, beside_usd=Decimal(0), left_s=None, basis=OUTLASTED)
    spent, planned = cost_usd(digest, now_s) or Decimal(0), estimate.cost_usd
    least = None
    if planned is not None:
        least = MoneyInterval(
            low=max(planned.low, spent), expected=max(planned.expected, spent), high=max(planned.high, spent)
        )
    # The plan's bill holds what is billed beside the machine.
    return Ahead(usd=least, beside_usd=Decimal(0), left_s=_left_s(estimate.hours, passed_s), basis=FROM_PLAN)


def _left_s(hours: Interval, passed_s: float) -> Interval:
    low, expected, high = (
        max(0.0, one * SECONDS_PER_HOUR - passed_s) for one in (hours.low, hours.expected, hours.high)
    )
    return Interval(low=low, expected=expected, high=high)


def _console(digest: RunDigest) -> str:
    cloud = digest.offer.cloud if digest.offer is not None else None
    return "look into the provider's console" + (f" ({cloud})" if cloud not in {None, "local"} else "")
