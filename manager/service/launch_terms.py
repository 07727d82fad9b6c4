"""What a launch is about, said before it: dollars expected and at most, where, who guards it, how it ends.

The command line and the launch dialog say the same. Figures are those of the order that would be launched
(`manager.service.running.prepare`), so that what is told is what is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.clouds import has_autodown
from manager.launch.engine import GuardName, LaunchRequest
from manager.planner.plan import Estimate, Plan
from manager.prices.offer import Offer
from manager.runs.session import SuperviseSettings
from manager.service.budgets import cap_of_budgets, launch_cap
from manager.service.context import Context
from manager.service.running import LOCAL, prepare, supervise_settings
from manager.service.spot_words import spot_words
from manager.service.worst_case import WorstLine, total_usd, worst_alone, worst_lines
from manager.units import Interval, MoneyInterval, format_duration, format_usd, interval_hours, interval_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchTerms:
    """What a user confirms."""

    name: str
    """Of the job; what is typed where typing is asked for."""
    plan_id: str
    expected_usd: Decimal | None
    """None: unknown."""
    range_usd: MoneyInterval | None
    hours: Interval | None
    basis: str
    """What the figures rest on."""
    cap_usd: Decimal | None
    """None: no cap."""
    worst_usd: Decimal | None
    """The most that it can cost while this machine is up; None: unknown."""
    worst: tuple[WorstLine, ...]
    """Adds up to it."""
    alone: WorstLine
    """The most when this machine goes away too and the program hangs."""
    where: str
    fallbacks: tuple[str, ...]
    """Taken in this order where the first has no capacity."""
    teardown: tuple[str, ...]
    """Sentences."""
    guards: tuple[str, ...]
    """Sentences, one for each of the three."""
    budget: str | None
    """What the user's budgets say; None: there is none."""
    needs_typed_confirmation: str | None
    """What has to be typed, as more may be spent than the user's setting; None: a yes is enough."""
    typed_because: str | None
    """Why."""

    @property
    def expected_text(self) -> str:
        """`$0.21 ($0.17 to $0.29) in 15.3 min (12.7 min to 21.6 min)`."""
        if self.range_usd is None or self.hours is None:
            return "unknown"
        return f"{interval_usd(self.range_usd)} in {interval_hours(self.hours)}"


def money_lines(terms: LaunchTerms) -> list[str]:
    """Expected, cap, worst case, a line each: what stays in sight at each size."""
    cap = "none" if terms.cap_usd is None else format_usd(terms.cap_usd)
    worst = format_usd(terms.worst_usd)
    lines = [f"expected  {terms.expected_text}", f"cap       {cap}", f"at most   {worst}"]
    return [*lines, f"budget    {terms.budget}"] if terms.budget is not None else lines


def detail_lines(terms: LaunchTerms) -> list[str]:
    """Everything else."""
    lines = [f"where     {terms.where}"]
    lines += [f"  else    {fallback}" for fallback in terms.fallbacks]
    lines += ["", f"At most {format_usd(terms.worst_usd)}, because:"]
    lines += [f"  {format_usd(line.usd)}  {line.text}" for line in terms.worst]
    alone = "no bound" if terms.alone.usd is None else f"at most {format_usd(terms.alone.usd)}"
    lines += [f"Should this machine go away too: {alone}; {terms.alone.text}", "", "Guards:"]
    lines += [f"  {guard}" for guard in terms.guards]
    lines += ["", "Its end:", *(f"  {sentence}" for sentence in terms.teardown)]
    return [*lines, "", f"Figures rest on: {terms.basis}", f"plan {terms.plan_id}"]


def launch_terms(context: Context, plan: Plan) -> LaunchTerms:
    """The terms of launching a plan now, under its own cap and the budgets'.

    Raises:
        NothingFitsError, OverBudgetError, UsageError: it cannot be launched; the same errors as the launch gives.
    """
    cap = launch_cap(context, plan, plan.limits.max_usd)
    request, engine = prepare(context, plan, cap_usd=cap)
    choice = plan.choice
    assert choice is not None, "prepare refuses a plan without a choice"
    settings = supervise_settings(context)
    worst = worst_lines(request, cap)
    worst_usd = total_usd(worst)
    alone = worst_alone(request, engine, cap)
    asked = _why_typed(context, worst_usd, alone.usd)
    cost = choice.cost_usd
    return LaunchTerms(
        name=plan.spec.name,
        plan_id=plan.plan_id,
        expected_usd=None if cost is None else cost.expected,
        range_usd=cost,
        hours=choice.hours,
        basis=_basis(plan, choice),
        cap_usd=cap,
        worst_usd=worst_usd,
        worst=worst,
        alone=alone,
        where=_named(request.offers[0]),
        fallbacks=tuple(_named(offer) for offer in request.offers[1:]),
        teardown=_teardown(request, engine, settings),
        guards=_guards(request, engine, cap, settings),
        budget=_budget(context, plan, cap),
        needs_typed_confirmation=None if asked is None else plan.spec.name,
        typed_because=asked,
    )


def _basis(plan: Plan, choice: Estimate) -> str:
    offer = choice.offer
    own = "own runs" if choice.calibration_factor != 1 else "no own run on this device yet"
    age = "" if offer.price_age_s is None else f", {offer.price_age_s / 86400:.0f} days old"
    return f"{plan.profile.basis}; data: {plan.profile.data.basis}; {own}; price: {offer.price_source}{age}"


def _why_typed(context: Context, worst: Decimal | None, alone: Decimal | None) -> str | None:
    threshold = context.config.number("confirm_above_usd")
    if worst is None:
        return "what it may cost is unknown"
    most = worst if alone is None else max(worst, alone)
    if most > threshold:
        return f"it may cost {format_usd(most)}, more than {format_usd(threshold)} (setting confirm_above_usd)"
    return None


def _guards(request: LaunchRequest, engine: str, cap: Decimal | None, settings: SuperviseSettings) -> tuple[str, ...]:
    longest = format_duration(request.max_duration_s)
    limits = f"{format_usd(cap)} or {longest}" if cap is not None else f"{longest}; there is no cap in dollars"
    charged = format_duration(settings.charge_interval_s)
    home = f"at home: a process of its own charges each {charged}, asks for its end at the cap"
    if cap is not None:
        home += ", and sooner when it would surely cost more"
    told = {
        GuardName.TRAINER: f"in the program: a checkpoint and an end in good order before {limits} are reached",
        GuardName.MACHINE: _timer(request, engine, limits),
        GuardName.HOME: f"{home}; it goes on when this terminal is closed",
    }
    off = "OFF, as the environment says"
    return tuple(text if name in request.guards else f"{text.partition(':')[0]}: {off}" for name, text in told.items())


def _timer(request: LaunchRequest, engine: str, limits: str) -> str:
    """What the dead-man timer does, and how far its arm reaches."""
    hang_s = request.job.guard.hang_s
    hang = "" if hang_s is None else f", or after {format_duration(hang_s)} without progress"
    if engine == LOCAL:
        return f"beside the program: a dead-man timer ends it at {limits}{hang}, also when nobody is left"
    ends = has_autodown(request.offers[0].cloud) or request.offers[0].cloud == "slurm"
    reach = "the machine" if ends else "the program (this cloud's machines cannot be ended from inside)"
    idle = f"{request.idle_minutes_to_autostop} min after the program's end, should nobody come"
    return f"on the machine: a dead-man timer ends {reach} at {limits}{hang}, and {idle}"


def _teardown(request: LaunchRequest, engine: str, settings: SuperviseSettings) -> tuple[str, ...]:
    if engine == LOCAL:
        return (
            "All processes of the run are ended; the process table is asked until none is left.",
            "Results lie in a folder of the run's name, under runs in the state folder.",
        )
    spot = spot_words(request)
    return (
        *(() if spot is None else (spot,)),
        "Results come home first, then machine and disk are taken down.",
        f"The provider is asked up to {settings.evidence_attempts} times whether anything is left; its answer is kept.",
        "Without a clear no the run is UNCONFIRMED, stands on top of all runs, and `tunefare reconcile` asks again.",
    )


def _budget(context: Context, plan: Plan, cap: Decimal | None) -> str | None:
    left = cap_of_budgets(context, plan.spec.project)
    if left is None:
        return None
    return f"{left.text}; this run takes {'nothing of it' if cap is None else f'up to {format_usd(cap)}'}"


def _named(offer: Offer) -> str:
    """Place, machine and price in words."""
    price = offer.price_usd_per_hour
    return f"{offer.title}, {'price unknown' if price is None else f'{format_usd(price)}/h'}"
