"""Follow a run that another process supervises, from the ledger alone: the same updates, told from its beginning."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from manager.errors import ExitCode, TeardownUnconfirmedError, TunefareError
from manager.planner.plan import Plan
from manager.runs.changes import Changes, Marks
from manager.runs.charges import charge, given_back_usd
from manager.runs.ledger import Ledger
from manager.runs.projection import Progress, project_hours, project_usd
from manager.runs.records import Charge, RunRecord, total_usd
from manager.runs.states import FINAL, RunState
from manager.runs.updates import ChargeUpdate, EventUpdate, EvidenceUpdate, OnUpdate, StateUpdate, Update
from manager.runs.verdict import told_verdict
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.units import MoneyInterval
from tasks.protocol import Event

POLL_S = 0.5
MOST_EVENTS = 1000
"""Read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """How the run stood when there was nothing more to follow."""

    record: RunRecord
    exit_code: ExitCode
    error: TunefareError | None
    """What to tell the user; None when the task is through."""


def follow_run(context: Context, run: str, *, on_update: OnUpdate) -> Followed:
    """Tell what the ledger has of a run and what is added, until it has ended or nobody supervises it any more.

    Args:
        context: surroundings.
        run: id or its unique beginning.
        on_update: called for every change, from this thread. Lines of the log are not among them: see `log_lines`.

    Raises:
        UsageError: no such run.
        StateError: the ledger cannot be read.
    """
    with open_ledger(context) as ledger:
        record = ledger.run(run)
        retelling = _Retelling(record.run_id, record.plan)
        marks, state = Marks(), record.state
        while True:
            # Asked before the rows are read: what a client wrote before its end is then among them.
            is_supervised = _is_supervised(ledger, record.run_id, context.clock())
            news = ledger.changes(record.run_id, marks, most_events=MOST_EVENTS)
            marks = news.marks
            for update in retelling.updates(news):
                on_update(update)
            state = news.states[-1].state if news.states else state
            if news.has_more_events:
                continue
            if state in FINAL or not is_supervised:
                return _followed(ledger, record.run_id)
            time.sleep(POLL_S)


def _is_supervised(ledger: Ledger, run_id: str, now_s: float) -> bool:
    return ledger.client_lives(run_id, now_s)


def _followed(ledger: Ledger, run_id: str) -> Followed:
    told = ledger.run_events(run_id)
    record = told.record
    if record.state in FINAL:
        verdict = told_verdict(record, told.events)
        return Followed(record=record, exit_code=verdict.exit_code, error=verdict.error)
    error = _nobody_looks_after(record)
    return Followed(record=record, exit_code=error.exit_code, error=error)


def _nobody_looks_after(record: RunRecord) -> TunefareError:
    what = "its end is not confirmed" if record.state is RunState.UNCONFIRMED else "no process supervises it any more"
    return TeardownUnconfirmedError(
        f"{record.run_id} is {str(record.state).replace('_', ' ')} and {what}: it MAY STILL BE BILLED",
        hint=f"follow it to its end: `tunefare reconcile {record.run_id}`; or end it: add --end",
    )


class _Retelling:
    """Rows of the ledger as the updates that supervision gave, with dollars as of their own time."""

    def __init__(self, run_id: str, plan: Plan) -> None:
        self._run_id = run_id
        self._plan = plan
        self._progress = Progress()
        self._charges: list[Charge] = []
        self._given_back_usd = Decimal(0)
        self._waiting: list[tuple[float, Update]] = []
        self._price: Decimal | None = None
        self._billing_started_at_s: float | None = None

    def updates(self, news: Changes) -> Iterator[Update]:
        """In the order of their times; rows of one kind keep their own order.

        While more events wait, what came after those that are here waits for them.
        """
        self._price = None if news.offer is None else news.offer.price_usd_per_hour
        self._billing_started_at_s = news.billing_started_at_s
        self._given_back_usd += given_back_usd(news.charges)
        found, self._waiting = self._waiting, []
        found += [(one.at_s, StateUpdate(run_id=self._run_id, change=one)) for one in news.states]
        found += [(one.time_s, self._event(one)) for one in news.events]
        found += [(one.at_s, self._charge(one)) for one in news.charges]
        found += [(one.asked_at_s, EvidenceUpdate(run_id=self._run_id, evidence=one)) for one in news.evidence]
        until_s = news.events[-1].time_s if news.has_more_events else math.inf
        self._waiting = [timed for timed in found if timed[0] > until_s]
        told = sorted((timed for timed in found if timed[0] <= until_s), key=lambda timed: timed[0])
        yield from (update for _, update in told)

    def _event(self, event: Event) -> Update:
        self._progress = self._progress.after(event, now_s=event.time_s)
        cost, projected = self._cost_usd(event.time_s), self._projected_usd(event.time_s)
        return EventUpdate(run_id=self._run_id, event=event, cost_usd=cost, projected_usd=projected)

    def _charge(self, stretch: Charge) -> Update:
        self._charges.append(stretch)
        cost, projected = total_usd(self._charges), self._projected_usd(stretch.at_s)
        return ChargeUpdate(run_id=self._run_id, charge=stretch, cost_usd=cost, projected_usd=projected)

    def _cost_usd(self, at_s: float) -> Decimal | None:
        """Billed until then: stretches that touch add up to one."""
        started_at_s = self._billing_started_at_s
        if started_at_s is None:
            return None
        to_s = max(at_s, started_at_s)
        own = charge(from_s=started_at_s, to_s=to_s, price_usd_per_hour=self._price, at_s=at_s).amount_usd
        return None if own is None else own + self._given_back_usd

    def _projected_usd(self, at_s: float) -> MoneyInterval | None:
        if self._billing_started_at_s is None:
            return None
        hours = project_hours(
            self._progress,
            self._plan.profile,
            billing_started_at_s=self._billing_started_at_s,
            now_s=at_s,
            may_end_early=self._plan.spec.may_end_early,
        )
        return project_usd(hours, self._price, before_usd=self._given_back_usd)
