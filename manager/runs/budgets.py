"""Budgets of months, users and projects: what has been spent, what open runs may still spend, what is left. Pure.

spent + committed + left = limit. Spent are the charges of the ledger, at launch prices; disks, addresses and traffic
are not in it (the cap of each run holds them). A charge whose amount nobody knows is counted, and never as 0: the sum
is then `at least`. A run that is not over commits the rest of its cap; one without a cap the rest of the high end of
its estimate. Runs whose teardown was not confirmed count on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum

from manager.runs.states import RunState
from manager.units import format_usd, usd

ZERO = Decimal(0)


class BudgetScope(StrEnum):
    """What a budget bounds."""

    MONTH = "month"
    """All runs, in each calendar month: of this machine's local time, in a shared ledger of UTC."""
    USER = "user"
    """A user's runs, in each calendar month."""
    PROJECT = "project"
    """All runs of a project, ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimit:
    """A budget as it was set last."""

    scope: BudgetScope
    name: str
    """Of the user or the project; empty for the month."""
    usd: Decimal
    since_s: float
    """When it was set, Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A calendar month: from_s <= t < to_s in Unix time."""

    name: str
    """`2026-11`."""
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A sum of charges."""

    usd: Decimal
    """Of those whose amount is known."""
    unknown_charges: int = 0
    """Charges without an amount: the sum is at least `usd` then."""

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(usd=self.usd + other.usd, unknown_charges=self.unknown_charges + other.unknown_charges)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that is not over: it may still be charged."""

    run_id: str
    state: RunState
    engine: str
    """`local` or `sky`."""
    project: str | None
    user: str | None
    """Who launched it; None: nobody knows."""
    cap_usd: Decimal | None
    """None: launched without one."""
    estimate_high_usd: Decimal | None
    """High end of what its plan expects; None: unknown."""
    charged: Spent
    """Ever, also before this month."""

    @property
    def committed_usd(self) -> Decimal | None:
        """What it may still be charged; None: nobody knows."""
        most = commitment_usd(self.engine, self.cap_usd, self.estimate_high_usd)
        return None if most is None else max(ZERO, most - self.charged.usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRun:
    """A run that may be billed at this moment."""

    run_id: str
    state: RunState
    price_usd_per_hour: Decimal | None
    """Of the offer taken; None: unknown, or not launched yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a budget stands."""

    limit: BudgetLimit
    month: Month | None
    """The present one; None for a project."""
    spent: Spent
    runs: tuple[OpenRun, ...]
    """Those that count against it and are not over."""

    @property
    def committed_usd(self) -> Decimal:
        """By open runs, of those for which it is known."""
        return sum((run.committed_usd or ZERO for run in self.runs), ZERO)

    @property
    def uncapped_runs(self) -> tuple[str, ...]:
        """Open runs of which nobody knows what they may cost."""
        return tuple(run.run_id for run in self.runs if run.committed_usd is None)

    @property
    def left_usd(self) -> Decimal:
        """For runs to come; below 0 when more was spent or promised than allowed, at most this where `is_exact` is
        false."""
        return self.limit.usd - self.spent.usd - self.committed_usd

    @property
    def is_exact(self) -> bool:
        """Whether all amounts are known."""
        return not self.spent.unknown_charges and not self.uncapped_runs

    @property
    def title(self) -> str:
        """`month budget 2026-11`, `budget of user ann 2026-11`, `budget of project research`."""
        if self.month is None:
            return f"budget of project {self.limit.name}"
        whose = "month budget" if self.limit.scope is BudgetScope.MONTH else f"budget of user {self.limit.name}"
        return f"{whose} {self.month.name}"

    @property
    def text(self) -> str:
        """`month budget 2026-11 leaves $12.30 of $50.00`."""
        limit, at_most = format_usd(self.limit.usd), "" if self.is_exact else "at most "
        if self.left_usd < 0:
            return f"{self.title} leaves nothing of {limit}: {format_usd(-self.left_usd)} more is spent or committed"
        return f"{self.title} leaves {at_most}{format_usd(self.left_usd)} of {limit}"


def commitment_usd(engine: str, cap_usd: Decimal | None, estimate_high_usd: Decimal | None) -> Decimal | None:
    """The most that a run may be charged; None: nobody knows. What costs nothing on this machine keeps to no cap."""
    if engine == "local" and estimate_high_usd == 0:
        return ZERO
    return cap_usd if cap_usd is not None else estimate_high_usd


def bounds(limit: BudgetLimit, project: str | None, user: str | None = None) -> bool:
    """Whether a budget counts the runs of a project (None: of no project) and a user (None: nobody knows whose)."""
    if limit.scope is BudgetScope.MONTH:
        return True
    return limit.name == (user if limit.scope is BudgetScope.USER else project)


def tightest(standings: Iterable[Standing]) -> Standing | None:
    """The budget that leaves least; None where there is none."""
    return min(standings, key=lambda standing: standing.left_usd, default=None)


def month_of(at_s: float, zone: tzinfo | None = None) -> Month:
    """The calendar month of a moment, in local time.

    Args:
        at_s: Unix time in seconds.
        zone: time zone; None: that of this machine.
    """
    moment = datetime.fromtimestamp(at_s, zone)
    return _month(moment.year, moment.month, zone)


def month_before(month: Month, zone: tzinfo | None = None) -> Month:
    """The calendar month before."""
    return month_of(month.from_s - 1, zone)


def day_start_s(at_s: float, zone: tzinfo | None = None) -> float:
    """When the calendar day of a moment began, in local time; Unix time in seconds."""
    moment = datetime.fromtimestamp(at_s, zone)
    return datetime(moment.year, moment.month, moment.day, tzinfo=zone).timestamp()


def share_usd(amount_usd: Decimal, *, from_s: float, to_s: float, since_s: float, until_s: float) -> Decimal:
    """The part of a charge that lies between two moments, by time; parts that touch add up to the charge.

    Args:
        amount_usd: of the charge.
        from_s: its begin; a charge without length lies at it.
        to_s: its end.
        since_s: the first moment that counts.
        until_s: the first that counts no more.
    """
    if to_s <= from_s:
        return amount_usd if since_s <= from_s < until_s else ZERO
    begin, end = (min(max(moment, from_s), to_s) for moment in (since_s, until_s))
    # The difference of two readings of one meter: rounding cannot add up over months.
    return _read(amount_usd, from_s, to_s, max(begin, end)) - _read(amount_usd, from_s, to_s, begin)


def _read(amount_usd: Decimal, from_s: float, to_s: float, at_s: float) -> Decimal:
    if at_s >= to_s:
        return amount_usd
    return usd(amount_usd * (Decimal(at_s) - Decimal(from_s)) / (Decimal(to_s) - Decimal(from_s)))


def _month(year: int, month: int, zone: tzinfo | None) -> Month:
    after = (year + 1, 1) if month == 12 else (year, month + 1)
    return Month(
        name=f"{year:04d}-{month:02d}",
        from_s=datetime(year, month, 1, tzinfo=zone).timestamp(),
        to_s=datetime(*after, 1, tzinfo=zone).timestamp(),
    )
