"""Plan a job: profile it, gather offers, rank them, keep the plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from manager.catalog.models import check_use, reason_to_plan_only, resolve_entry
from manager.errors import UsageError
from manager.planner.assumptions import Assumptions
from manager.planner.build import Planner, explain_no_choice, plan_of
from manager.planner.calibration import Calibration
from manager.planner.cheapest import cheapest
from manager.planner.codec import plan_to_json
from manager.planner.limits import binding_cap
from manager.planner.market_index import MarketIndex
from manager.planner.plan import BudgetCap, Estimate, Plan, under_cap
from manager.planner.traffic import Places
from manager.planner.variant import StepVariant
from manager.planner.what_if import LimitCost, binding_notes, limit_costs
from manager.profiling.measure import measure_data
from manager.runs.database import LedgerAwayError
from manager.runs.states import FINAL
from manager.service.assumptions import read_assumptions
from manager.service.context import Context
from manager.service.data_places import places_of, traffic_notes
from manager.service.known_names import check_places
from manager.service.known_quotas import quota_note
from manager.service.market import read_market
from manager.service.overlay import Overlay, clouds_of, overlaid
from manager.service.saved_plans import price_moved_note, save_plan
from manager.service.variants import VariantSource
from manager.spec.model import Budget, RunSpec
from manager.workload.profile import DataStats
from tasks.kinds import TASK_KINDS

__all__ = ["can_run", "explain_no_choice", "narrowed", "plan_job", "plan_to_json", "save_plan"]


_LISTED_KEYS = 5
"""In a hint."""
LeftFor = Callable[[str | None], BudgetCap | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A job that has been measured and can be planned, again and again under other limits."""

    spec: RunSpec
    planner: Planner
    notes: tuple[str, ...]
    """What the user should know of prices, traces and task."""
    created_at_s: float
    left_out: tuple[str, ...] = ()
    """Ways of training that were not considered, and why; among the notes too."""
    left_for: LeftFor = lambda project: None
    """What the user's budgets leave for a run of a project at this moment; None: nothing bounds it."""

    def under(self, spec: RunSpec, created_at_s: float) -> OpenJob:
        """The same job under the limits of another run file: what has been judged of machines is kept."""
        return dataclasses.replace(self, spec=spec, created_at_s=created_at_s)

    def plan(self, spec: RunSpec | None = None) -> Plan:
        """The plan under the limits of this spec, which asks for the same job; None: its own."""
        return self.plan_and_remedies(spec)[0]

    def plan_and_remedies(self, spec: RunSpec | None = None) -> tuple[Plan, tuple[str, ...]]:
        """The plan; and of its notes, where nothing can be chosen, which limits taken away would leave a choice."""
        asked = spec or self.spec
        plan = plan_of(
            self.planner,
            asked,
            created_at_s=self.created_at_s,
            notes=self.notes,
            budget_left=self.left_for(asked.project),
        )
        if plan.chosen is not None:
            return plan, ()
        remedies = tuple(binding_notes(self.planner, asked.where, asked.budget, plan.budget_cap))
        return dataclasses.replace(plan, notes=(*plan.notes, *remedies)), remedies

    @property
    def limits(self) -> Budget:
        """What offers are compared with: the limits of the run file, under what a budget leaves."""
        budget = self.spec.budget
        return under_cap(budget, binding_cap(budget, self.left_for(self.spec.project)))

    def top(self, number: int) -> list[Estimate]:
        """So many of the cheapest offers, also more than a plan keeps."""
        return cheapest(self.planner, self.spec.where, self.limits, number)

    def limit_costs(self) -> list[LimitCost]:
        """What each limit costs, and what one more would."""
        budget = self.spec.budget
        cap = binding_cap(budget, self.left_for(self.spec.project))
        return limit_costs(self.planner, self.spec.where, budget, cap)

    def find(self, text: str) -> Estimate:
        """The estimate of one offer, chosen or not.

        Args:
            text: its key, or a part that no other key has.

        Raises:
            UsageError: no offer has it, or several do.
        """
        keys = self.planner.keys_with(text, self.spec.where)
        if not keys:
            raise UsageError(
                f"no offer has {text!r} in its key",
                hint="keys are cloud/region/machine/accelerator:number/market, as `tunefare prices --json` shows them",
            )
        if len(keys) > 1 and text not in keys:
            listing = ", ".join(keys[:_LISTED_KEYS])
            more = "" if len(keys) <= _LISTED_KEYS else f" and {len(keys) - _LISTED_KEYS} more"
            raise UsageError(f"{len(keys)} offers have {text!r} in their key", hint=f"name one: {listing}{more}")
        found = self.planner.find(text if text in keys else keys[0], self.spec.where, self.limits)
        assert found is not None, "the key is one of the market's"
        return found


def plan_job(
    context: Context, spec: RunSpec, *, catalogs: Path | None = None, tell: Callable[[str], None] | None = None
) -> Plan:
    """Estimate the job on every offer and choose; the plan is saved under its id.

    Args:
        context: surroundings.
        spec: the job.
        catalogs: folder of price catalogs; None: the setting, else SkyPilot's own, else the shipped list prices.
        tell: is told of work that takes long, before it is done.

    Raises:
        DataError: model or data cannot be used.
        PriceError: `catalogs` cannot be read.
        UsageError: a cloud, region or accelerator is asked for that nobody knows.
        StateError: the plan cannot be saved.
    """
    return settle(context, open_job(context, spec, catalogs=catalogs, tell=tell).plan())


def settle(context: Context, plan: Plan) -> Plan:
    """Save a plan; with a note where the price of an earlier answer to the same question has moved.

    Raises:
        StateError: it cannot be saved.
    """
    if (note := price_moved_note(context, plan)) is not None:
        plan = dataclasses.replace(plan, notes=(*plan.notes, note))
    if (note := quota_note(context, plan)) is not None:
        plan = dataclasses.replace(plan, notes=(*plan.notes, note))
    save_plan(context, plan)
    return plan


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMarket:
    """What can be rented and what is taken for granted, read once for any number of jobs."""

    index: MarketIndex
    assumptions: Assumptions
    calibration: tuple[Calibration, ...]
    no_ledger: str | None = None
    """Why the people's ledger is not heard: own runs and budgets have no say then, and a launch is refused."""


def open_market(context: Context, catalogs: Path | None = None) -> OpenMarket:
    """Read the market, the assumptions and what own runs have taught.

    Raises:
        PriceError: `catalogs` cannot be read.
        ConfigError: own assumptions cannot be used.
    """
    context.home.ensure()
    assumptions = read_assumptions(context)
    index = MarketIndex.of(read_market(context, catalogs), assumptions)
    try:
        return OpenMarket(index=index, assumptions=assumptions, calibration=_calibration(context))
    except LedgerAwayError as error:
        note = f"{error.message}; this plan knows nothing of own runs and budgets, and a launch has to wait for it"
        return OpenMarket(index=index, assumptions=assumptions, calibration=(), no_ledger=note)


def open_job(
    context: Context,
    spec: RunSpec,
    *,
    catalogs: Path | None = None,
    market: OpenMarket | None = None,
    data: DataStats | None = None,
    tell: Callable[[str], None] | None = None,
) -> OpenJob:
    """Measure the job; arguments and errors as `plan_job`, nothing is saved.

    Args:
        context: surroundings.
        spec: the job.
        catalogs: read where no market is given.
        market: what can be rented; None: it is read.
        data: figures of the data; None: they are measured.
        tell: is told of work that takes long, before it is done.
    """
    context.home.ensure()
    now_s = context.clock()
    entry = resolve_entry(spec.model.source, spec.model.revision)
    check_use(entry, task=spec.task, max_length=longest_text(spec))
    timeout_s = float(context.config.number("measure_timeout_s"))
    data = data or measure_data(spec, cache_dir=context.home.cache_dir, timeout_s=timeout_s)
    opened, where = market or open_market(context, catalogs), spec.where
    rentals = opened.index.market.rentals
    check_places(opened.index.market, clouds=where.clouds, regions=where.regions, accelerators=where.accelerators)
    source = VariantSource(
        spec=spec,
        entry=entry,
        data=data,
        has_cpu_offers=any(rental.accelerator is None for rental in rentals),
        cache_dir=context.home.cache_dir,
        timeout_s=timeout_s,
        tell=tell,
    )
    first, others = source.first(), source.others(traces_checkpointing=False)
    places = places_of(context, spec)
    planner = _planner_of(opened, first, others.variants, places)
    if others.left_out and _chooses_nothing(planner, spec):
        others = source.others(traces_checkpointing=True)
        planner = _planner_of(opened, first, others.variants, places)
    moved = traffic_notes(context, spec, data_bytes=data.bytes)
    away = () if opened.no_ledger is None else (opened.no_ledger,)
    notes = (*away, *opened.index.market.notes, *_task_notes(spec), *first.traces.notes, *others.left_out, *moved)
    return OpenJob(
        spec=spec,
        planner=planner,
        notes=notes,
        created_at_s=now_s,
        left_out=others.left_out,
        left_for=(lambda project: None) if away else _left_for(context),
    )


def planner_of(
    context: Context, catalogs: Path | None, tell: Callable[[str], None] | None
) -> Callable[[RunSpec], Plan]:
    """Plans jobs one after the other over the same market, and saves none; arguments and errors as `plan_job`.

    What the user's budgets leave does not bound them: they answer what a job would cost, and are not launched as such.
    """
    market = open_market(context, catalogs)
    return lambda spec: dataclasses.replace(
        open_job(context, spec, market=market, tell=tell), left_for=lambda project: None
    ).plan()


def _planner_of(opened: OpenMarket, first: StepVariant, others: Sequence[StepVariant], places: Places) -> Planner:
    return Planner(
        opened.index,
        [first, *others],
        assumptions=opened.assumptions,
        calibration=opened.calibration,
        places=places,
    )


def _chooses_nothing(planner: Planner, spec: RunSpec) -> bool:
    """Whether steps that are not traced yet are worth the seconds: without them the plan has no answer."""
    return not planner.rank(spec.where, spec.budget).candidates


def longest_text(spec: RunSpec) -> int | None:
    """Most tokens of a sample; None where samples are no text."""
    kind = TASK_KINDS[spec.task]
    return spec.training.max_length if kind.length == "tokens" and kind.samples != "audio" else None


def can_run(spec: RunSpec) -> bool:
    """Whether `run` takes the job at all; else it can be planned alone."""
    return TASK_KINDS[spec.task].is_trained and reason_to_plan_only(spec.model.source) is None


def narrowed(spec: RunSpec, *, on: str | None, max_usd: Decimal | None) -> RunSpec:
    """The spec with the command line's cloud and cap laid over it; flags win over the file.

    Raises:
        UsageError: the cap is not positive.
    """
    return overlaid(spec, Overlay(clouds=clouds_of(on), max_usd=max_usd))


def _task_notes(spec: RunSpec) -> tuple[str, ...]:
    kind = TASK_KINDS[spec.task]
    task = () if kind.is_trained else (f"{kind.name} can be planned, not run yet",)
    reason = reason_to_plan_only(spec.model.source)
    return task if reason is None else (*task, f"{reason}: it can be planned, not run")


def _left_for(context: Context) -> LeftFor:
    """Asks the budgets at each plan: what they leave changes with every charge."""

    def left(project: str | None) -> BudgetCap | None:
        if not context.has_ledger:
            return None
        from manager.service.budgets import cap_of_budgets  # as below: a first plan has no use for the ledger

        try:
            return cap_of_budgets(context, project)
        except LedgerAwayError:
            # A plan says that when its market is read; the launch asks again, and is refused.
            return None

    return left


def _calibration(context: Context) -> tuple[Calibration, ...]:
    """What this user's own runs say about devices; nothing before the first run."""
    if not context.has_ledger:
        return ()
    # Ledger and reports cost a seventh of a cold plan to load; the first plan of a user has no use for them.
    from manager.reports.calibrate import calibration_from
    from manager.service.inspection import open_ledger

    with open_ledger(context) as ledger:
        return calibration_from(ledger.run_events(run_id) for run_id in ledger.run_ids(FINAL))
