"""PlanSession: one market held open, and plans over it again and again while someone edits a run file.

A question has two answers. The quick one is the cheapest offers by branch and bound, without judging every machine; the
whole one is the plan that `tunefare plan` makes. Another limit (budget, deadline, confidence, place, spot, machines)
keeps the job that was measured; another training opens the job anew on the market that is there. With another batch
size or seed the quick answer takes the padding that was measured before, and says so; the whole one measures it.
Saves nothing and shows nothing; one question at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from manager.errors import TunefareError
from manager.planner.build import explain_no_choice
from manager.planner.plan import Estimate, Plan
from manager.planner.spot_break_even import spot_break_even
from manager.prices.offer import Offer
from manager.prices.sources import file_mark, market_mark
from manager.profiling.measure import known_data, measure_data
from manager.reports.why import Why, why
from manager.runs.states import FINAL
from manager.service.assumptions import assumptions_file
from manager.service.context import Context
from manager.service.inspection import reading
from manager.service.known_names import check_places
from manager.service.planning import OpenJob, OpenMarket, open_job, open_market, settle
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats

TOP = 24
"""Offers of a quick answer."""
_LOCAL = ("local",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An answer, as far as it is known."""

    spec: RunSpec
    """The question."""
    offers: tuple[Estimate, ...]
    """The cheapest that can be chosen, by expected dollars to a finished job; the first is the choice."""
    notes: tuple[str, ...]
    """What the user should know."""
    plan: Plan | None = None
    """The whole answer; None: it is still to be made."""
    refusal: TunefareError | None = None
    """Why nothing can be chosen, with what to change; None where something can, or it is not known yet."""
    remedies: tuple[str, ...] = ()
    """Of the notes those that tell which limits, taken away, would leave a choice."""

    @property
    def choice(self) -> Estimate | None:
        """The cheapest offer; None: nothing can be chosen, or nothing was found yet."""
        return self.offers[0] if self.offers else None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it will change."""
        return self.plan is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The job that was opened last."""

    key: Hashable
    """What it depends on; limits and name apart."""
    job: OpenJob
    is_measured: bool
    """False: its data was measured for another batch size or seed."""


class PlanSession:
    """Answers questions about plans from one market that is read once."""

    def __init__(
        self, context: Context, *, catalogs: Path | None = None, tell: Callable[[str], None] | None = None
    ) -> None:
        """Nothing is read yet.

        Args:
            context: surroundings.
            catalogs: folder of price catalogs; None: the setting, else SkyPilot's own, else the shipped list prices.
            tell: is told of work that takes long, before it is done; called from the thread that asks.
        """
        self._context = context
        self._catalogs = catalogs
        self._tell = tell
        self._lock = Lock()
        self._market: OpenMarket | None = None
        self._mark: Hashable = None
        """Of what the market was read from."""
        self._kept: _Kept | None = None

    def answer(self, spec: RunSpec, *, top: int = TOP) -> Shown:
        """The cheapest offers, quickly; none does not mean yet that nothing can be chosen.

        Raises:
            DataError: model or data cannot be used.
            PriceError: prices cannot be read.
            UsageError: a cloud, region or accelerator is asked for that nobody knows.
        """
        with self._lock:
            kept = self._job_of(spec, is_quick=True)
            notes = kept.job.notes if kept.is_measured else (*kept.job.notes, _padding_note(spec))
            return Shown(spec=spec, offers=tuple(kept.job.top(top)), notes=notes)

    def whole(self, spec: RunSpec) -> Shown:
        """The answer with its plan; errors as `answer`."""
        with self._lock:
            plan, remedies = self._planned(spec)
        refusal = explain_no_choice(plan) if plan.chosen is None else None
        return Shown(spec=spec, offers=plan.offers, notes=plan.notes, plan=plan, refusal=refusal, remedies=remedies)

    def plan(self, spec: RunSpec) -> Plan:
        """The plan that `tunefare plan` would make; errors as `answer`."""
        with self._lock:
            return self._planned(spec)[0]

    def to_launch(self, plan: Plan) -> Plan:
        """The plan, saved and with what is known of quotas.

        Raises:
            NothingFitsError: nothing can be chosen; OverBudgetError: because of a limit.
            StateError: it cannot be saved.
        """
        if plan.chosen is None:
            raise explain_no_choice(plan)
        return settle(self._context, plan)

    def find(self, spec: RunSpec, text: str) -> Estimate:
        """The estimate of one offer, chosen or not; errors as `answer`.

        Args:
            spec: the question; the open job stays that of the last answer.
            text: the offer's key, or a part that no other has.
        """
        with self._lock, self._aside():
            return self._job_of(spec, is_quick=True).job.find(text)

    def explain(self, spec: RunSpec, estimate: Estimate, *, choice: Estimate | None = None) -> Why:
        """One offer in full, as `tunefare plan --why` tells it; errors as `answer`.

        Args:
            spec: the question.
            estimate: of the offer, chosen or not; one that was not estimated, since it is not wanted, is now.
            choice: what it is compared with.
        """
        with self._lock, self._aside():
            job = self._job_of(spec, is_quick=True).job
            told = estimate if estimate.lines else job.find(estimate.offer.key)
            return why(told, break_even=spot_break_even(job.planner, told, spec.where), choice=choice)

    def cheapest_with(self, spec: RunSpec, number: int = 1) -> list[Estimate]:
        """The cheapest offers to a question; the open job stays that of the last answer; errors as `answer`."""
        with self._lock, self._aside():
            return self._job_of(spec, is_quick=True).job.top(number)

    def offers(self) -> tuple[Offer, ...]:
        """Everything that can be rented, as `answer` found it; nothing before the first answer."""
        market = self._market
        return () if market is None else tuple(market.index.market.offers())

    def refresh(self, context: Context | None = None) -> bool:
        """Forget prices, assumptions and the job where a file of theirs has changed, or a run of one's own has ended.

        Args:
            context: the surroundings of today; None: they are what they were.

        Returns:
            Whether all is read again for the next question.
        """
        with self._lock:
            self._context = context or self._context
            if self._market is None or self._mark == _mark(self._context, self._catalogs):
                return False
            self._market = self._kept = None
            return True

    def _planned(self, spec: RunSpec) -> tuple[Plan, tuple[str, ...]]:
        """The plan, and what of its notes would leave a choice."""
        job = self._job_of(spec, is_quick=False).job
        plan, remedies = job.plan_and_remedies()
        if plan.chosen is None and job.left_out:
            # Under other limits something could be chosen; now the steps that were not traced are worth it.
            return self._opened(spec, is_quick=False).job.plan_and_remedies()
        return plan, remedies

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Keep the open job, whatever is opened meanwhile."""
        kept = self._kept
        try:
            yield
        finally:
            self._kept = kept or self._kept

    def _job_of(self, spec: RunSpec, *, is_quick: bool) -> _Kept:
        """The job of a question, as it is open or opened now."""
        kept = self._kept
        if kept is None or kept.key != _key(spec) or not (kept.is_measured or is_quick):
            return self._opened(spec, is_quick=is_quick)
        where = spec.where
        assert self._market is not None, "a job is open on a market"
        check_places(
            self._market.index.market, clouds=where.clouds, regions=where.regions, accelerators=where.accelerators
        )
        return replace(kept, job=kept.job.under(spec, self._context.clock()))

    def _opened(self, spec: RunSpec, *, is_quick: bool) -> _Kept:
        if self._market is None:
            self._say("reading prices ...")
            self._mark = _mark(self._context, self._catalogs)
            self._market = open_market(self._context, self._catalogs)
        data, is_measured = self._data(spec, is_quick=is_quick)
        job = open_job(self._context, spec, market=self._market, data=data, tell=self._tell)
        self._kept = _Kept(key=_key(spec), job=job, is_measured=is_measured)
        return self._kept

    def _data(self, spec: RunSpec, *, is_quick: bool) -> tuple[DataStats, bool]:
        """Figures of the data, and whether they were measured for just this run."""
        cache_dir, before = self._context.home.cache_dir, self._kept
        if is_quick and before is not None and _data_key(before.job.spec) == _data_key(spec):
            known = known_data(spec, cache_dir=cache_dir)
            return (known, True) if known is not None else (before.job.planner.variants[0].profile.data, False)
        timeout_s = float(self._context.config.number("measure_timeout_s"))
        told = f"measuring {spec.data.source}, at most {timeout_s:g} s ..."
        return measure_data(spec, cache_dir=cache_dir, timeout_s=timeout_s, tell=lambda: self._say(told)), True

    def _say(self, text: str) -> None:
        if self._tell is not None:
            self._tell(text)


def _mark(context: Context, catalogs: Path | None) -> Hashable:
    """What changes when the market would be another one."""
    files = market_mark(
        catalogs=catalogs or context.config.catalogs, home=context.user_home, good_copies=context.home.prices_dir
    )
    with reading(context) as ledger:
        ended = 0 if ledger is None else len(ledger.run_ids(FINAL))
    return (files, file_mark(assumptions_file(context)), context.config.values, ended)


def _key(spec: RunSpec) -> Hashable:
    """All that an open job depends on; a job that is meant for this machine alone has its step traced for it."""
    is_for_here = spec.where.clouds == _LOCAL
    return (spec.task, spec.model, spec.data, spec.method, spec.training, spec.target, is_for_here)


def _data_key(spec: RunSpec) -> Hashable:
    """What figures of the data depend on, padding apart."""
    return (spec.task, spec.model, spec.data, spec.training.max_length)


def _padding_note(spec: RunSpec) -> str:
    batch_size = spec.training.batch_size
    return f"padding is taken from another batch size or seed, until the data is measured for batches of {batch_size}"
