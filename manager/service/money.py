"""The line of money: what the month's budget leaves, what is billed an hour now, what today has cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.runs.budget_rows import billing_runs, limits, open_runs, spent_between, standing_of
from manager.runs.budgets import BillingRun, BudgetScope, Month, Spent, Standing, day_start_s, month_of
from manager.runs.database import Database, now_of, zone_of
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.inspection import reading

_HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyNow:
    """Money at one moment, at launch prices."""

    at_s: float
    """Unix time in seconds."""
    month: Month
    """The present calendar month, in local time."""
    budget: Standing | None
    """Of the month; None: there is none."""
    today: Spent
    """Charges since midnight, local time."""
    runs: tuple[BillingRun, ...]
    """That may be billed, oldest first."""

    @property
    def usd_per_hour(self) -> Decimal:
        """Of the runs that may be billed and have a known price."""
        return sum((run.price_usd_per_hour or Decimal(0) for run in self.runs), Decimal(0))

    @property
    def usd_per_day(self) -> Decimal:
        """If all of them were left running."""
        return self.usd_per_hour * _HOURS_PER_DAY

    @property
    def unknown_prices(self) -> int:
        """Runs that may be billed at a price that nobody knows (yet)."""
        return sum(run.price_usd_per_hour is None for run in self.runs)

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """Runs that were taken down without the provider's word that they are gone."""
        return tuple(run.run_id for run in self.runs if run.state is RunState.UNCONFIRMED)


def money_now(context: Context) -> MoneyNow:
    """What is spent, billed and left at this moment; StateError when the ledger cannot be read."""
    now_s = context.clock()
    with reading(context) as ledger:
        if ledger is None:
            nothing = Spent(usd=Decimal(0))
            return MoneyNow(at_s=now_s, month=month_of(now_s), budget=None, today=nothing, runs=())
        return ledger.look(lambda db: _money(db, now_s))


def _money(db: Database, now_s: float) -> MoneyNow:
    now_s, zone = now_of(db, now_s), zone_of(db)
    month, runs = month_of(now_s, zone), open_runs(db)
    limit = next((limit for limit in limits(db) if limit.scope is BudgetScope.MONTH), None)
    return MoneyNow(
        at_s=now_s,
        month=month,
        budget=None if limit is None else standing_of(db, limit, month, runs),
        today=spent_between(db, day_start_s(now_s, zone), month.to_s),
        runs=billing_runs(db, runs),
    )
