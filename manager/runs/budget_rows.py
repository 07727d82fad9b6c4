"""Budgets in the ledger: their rows, and the sums that they are compared with. SQL alone; the caller holds the
transaction, so that all figures are of one moment.

Sums are made in whole micro-dollars, the resolution of every charge, and exact up to nine thousand million dollars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from manager.errors import OverBudgetError
from manager.runs.bills import bill_of
from manager.runs.budgets import (
    BillingRun,
    BudgetLimit,
    BudgetScope,
    Month,
    OpenRun,
    Spent,
    Standing,
    bounds,
    month_of,
    share_usd,
    tightest,
)
from manager.runs.database import Database, now_of, zone_of
from manager.runs.rows import money_from_text, money_to_text
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.units import format_usd

_ChargeRow = tuple[float, float, Decimal | str | None]
"""from_s, to_s, amount_usd."""
_MICRO = Decimal("0.000001")
_SUM = "coalesce(sum(round(amount_usd * 1e6)), 0), count(*) - count(amount_usd)"
_OF_USER = "run_id IN (SELECT run_id FROM run_facts WHERE user_name = :user)"
_ORDER = (BudgetScope.MONTH, BudgetScope.USER, BudgetScope.PROJECT)
_ENDS = ", ".join(f"'{state}'" for state in RunState if state in FINAL)


def insert_budget(db: Database, scope: BudgetScope, name: str, usd: Decimal | None, at_s: float) -> None:
    """A budget as it is from now on; None: there is none any more."""
    row = (at_s, str(scope), name, money_to_text(usd))
    db.execute("INSERT INTO budgets (at_s, scope, name, usd) VALUES (?, ?, ?, ?)", row)


def limits(db: Database, until_s: float = math.inf) -> tuple[BudgetLimit, ...]:
    """The budgets in force, that of the month first, then users and projects by name; until_s: as they were just
    before."""
    latest = (
        "SELECT scope, name, usd, at_s FROM budgets WHERE id IN"
        " (SELECT max(id) FROM budgets WHERE at_s < ? GROUP BY scope, name) AND usd IS NOT NULL"
    )
    found = [
        BudgetLimit(scope=BudgetScope(scope), name=name, usd=Decimal(usd), since_s=at_s)
        for scope, name, usd, at_s in db.execute(latest, (until_s,)).fetchall()
    ]
    return tuple(sorted(found, key=lambda limit: (_ORDER.index(limit.scope), limit.name)))


def standings(db: Database, at_s: float) -> tuple[Standing, ...]:
    """Where each budget stands, that of the month first."""
    return _standings(db, limits(db), at_s)


def standing_of(db: Database, limit: BudgetLimit, month: Month, runs: Sequence[OpenRun]) -> Standing:
    """Where one budget stands in the present month; `runs` are all that are not over."""
    if limit.scope is BudgetScope.PROJECT:
        spent = spent_by(db, limit.name)
    else:
        spent = spent_in(db, month, limit.name if limit.scope is BudgetScope.USER else None)
    return Standing(
        limit=limit,
        month=None if limit.scope is BudgetScope.PROJECT else month,
        spent=spent,
        runs=tuple(run for run in runs if bounds(limit, run.project, run.user)),
    )


def tightest_for(db: Database, project: str | None, at_s: float, user: str | None = None) -> Standing | None:
    """The budget that leaves a run of this project and user least; None where nothing bounds it."""
    return tightest(_bounding(db, project, at_s, user))


def _bounding(db: Database, project: str | None, at_s: float, user: str | None) -> tuple[Standing, ...]:
    return _standings(db, [limit for limit in limits(db) if bounds(limit, project, user)], at_s)


def _standings(db: Database, found: Sequence[BudgetLimit], at_s: float) -> tuple[Standing, ...]:
    if not found:
        return ()
    runs, month = open_runs(db), month_of(now_of(db, at_s), zone_of(db))
    return tuple(standing_of(db, limit, month, runs) for limit in found)


def check_room(
    db: Database, project: str | None, committed_usd: Decimal | None, at_s: float, user: str | None = None
) -> None:
    """Refuse a run that the budgets do not hold; inside the transaction that creates it, so that two processes, or two
    people, cannot overspend together.

    Args:
        db: in a transaction that writes.
        project: of the run.
        committed_usd: the most that it may be charged; None: nobody knows.
        at_s: now, Unix time in seconds.
        user: who launches it; None: nobody knows.

    Raises:
        OverBudgetError: its cap is more than is left, or it has none; or a run that goes on has none, so that nobody
            knows what is left.
    """
    standings = () if committed_usd == 0 else _bounding(db, project, at_s, user)
    for standing in standings:
        if standing.uncapped_runs:
            raise OverBudgetError(
                f"{standing.title} may be used up: nobody knows what {', '.join(standing.uncapped_runs)} may still"
                " cost; nothing was started",
                hint="wait for it, or end it: `tunefare stop RUN`; or take the budget away: `tunefare budget remove`",
            )
    tight = tightest(standings)
    if tight is None or (committed_usd is not None and committed_usd <= tight.left_usd):
        return
    most = (
        "nobody knows what this run may cost" if committed_usd is None else f"this run may cost {_told(committed_usd)}"
    )
    raise OverBudgetError(
        f"{tight.text}, and {most}: nothing was started",
        hint="plan it again under what is left, wait for runs to end, or raise the budget: `tunefare budget set`",
    )


def spent_in(db: Database, month: Month, user: str | None = None) -> Spent:
    """Charges of a month, or a user's; of those that reach into another month the part of this one, by time."""
    return spent_between(db, month.from_s, month.to_s, user)


def spent_in_each(db: Database, months: Sequence[Month]) -> tuple[Spent, ...]:
    """Charges of months that follow each other, newest first; each is read once, with the month in which it ends."""
    spent: list[Spent] = []
    reaching: list[_ChargeRow] = []
    for month in months:
        total, early = _ending_in(db, month.from_s, month.to_s, upto="<=")
        for row in reaching:
            total = total.plus(_part(row, month.from_s, month.to_s))
        reaching += early
        spent.append(total)
    return tuple(spent)


def spent_between(db: Database, since_s: float, until_s: float, user: str | None = None) -> Spent:
    """Charges between two moments; an unknown one counts in each stretch that it reaches into; None: of all users."""
    total, _ = _ending_in(db, since_s, until_s, upto="<", user=user)
    # Those that reach the end; and at the begin those without length.
    others = "((to_s >= :b AND from_s < :b) OR (to_s = :a AND from_s = :a))"
    whose, at = _whose(user), {"a": since_s, "b": until_s, "user": user}
    for row in db.execute(f"SELECT from_s, to_s, amount_usd FROM charges WHERE {others}{whose}", at).fetchall():
        total = total.plus(_part(row, since_s, until_s))
    return total


def _ending_in(
    db: Database, since_s: float, until_s: float, *, upto: str, user: str | None = None
) -> tuple[Spent, list[_ChargeRow]]:
    """Charges that end within a stretch, by their parts in it; and those of them that begin before it."""
    ending = f"FROM charges WHERE to_s > :a AND to_s {upto} :b{_whose(user)}"
    at = {"a": since_s, "b": until_s, "user": user}
    *sums, early = db.execute(f"SELECT {_SUM}, count(CASE WHEN from_s < :a THEN 1 END) {ending}", at).fetchone()
    total = _spent(*sums)
    if not early:
        return total, []
    rows = db.execute(f"SELECT from_s, to_s, amount_usd {ending} AND from_s < :a", at).fetchall()
    before = sum((_part(row, row[0], since_s).usd for row in rows), Decimal(0))
    return Spent(usd=total.usd - before, unknown_charges=total.unknown_charges), rows


def _whose(user: str | None) -> str:
    return "" if user is None else f" AND {_OF_USER}"


def _part(row: _ChargeRow, since_s: float, until_s: float) -> Spent:
    """What of a charge lies between two moments."""
    from_s, to_s, amount = row
    if amount is None:
        reaches = from_s < until_s and (to_s > since_s or to_s == from_s == since_s)
        return Spent(usd=Decimal(0), unknown_charges=int(reaches))
    return Spent(usd=share_usd(Decimal(amount), from_s=from_s, to_s=to_s, since_s=since_s, until_s=until_s))


def spent_by(db: Database, project: str) -> Spent:
    """All charges of a project's runs, ever."""
    found = db.execute("SELECT run_id FROM run_facts WHERE project = ?", (project,)).fetchall()
    total = Spent(usd=Decimal(0))
    for (run_id,) in found:
        total = total.plus(charged(db, run_id))
    return total


def projects(db: Database) -> tuple[str, ...]:
    """Names of all projects that runs were charged to, in order."""
    sql = "SELECT DISTINCT project FROM run_facts WHERE project IS NOT NULL ORDER BY project"
    return tuple(str(name) for (name,) in db.execute(sql).fetchall())


def charged(db: Database, run_id: str) -> Spent:
    """All charges of a run."""
    bill = bill_of(db, run_id)
    if bill.cost_usd is not None:
        return Spent(usd=bill.cost_usd)
    return _spent(*db.execute(f"SELECT {_SUM} FROM charges WHERE run_id = ?", (run_id,)).fetchone())


def open_runs(db: Database) -> tuple[OpenRun, ...]:
    """Runs that are not over, oldest first: also those that are about to be launched."""
    latest = "WHERE run_id = r.run_id ORDER BY"
    found = db.execute(
        "SELECT r.run_id, r.engine, r.cap_usd, f.project, f.user_name,"
        f" (SELECT state FROM state_changes {latest} id DESC LIMIT 1),"
        f" (SELECT usd_high FROM estimates {latest} id DESC LIMIT 1)"
        " FROM runs r LEFT JOIN run_facts f ON f.run_id = r.run_id"
        # The list of ends as the index of them has it, word for word; the table of 10,000 runs is then not read.
        f" WHERE NOT EXISTS (SELECT 1 FROM state_changes e WHERE e.run_id = r.run_id AND e.state IN ({_ENDS}))"
        " ORDER BY r.created_at_s, r.run_id"
    )
    return tuple(
        OpenRun(
            run_id=run_id,
            state=RunState(state),
            engine=engine,
            project=project,
            user=user,
            cap_usd=money_from_text(cap),
            estimate_high_usd=money_from_text(high),
            charged=charged(db, run_id),
        )
        for run_id, engine, cap, project, user, state, high in found.fetchall()
    )


def _spent(micro_usd: float | Decimal, unknown_charges: int) -> Spent:
    return Spent(usd=int(micro_usd) * _MICRO, unknown_charges=unknown_charges)


def _told(amount_usd: Decimal) -> str:
    return f"up to {format_usd(amount_usd)}"


def billing_runs(db: Database, runs: Sequence[OpenRun]) -> tuple[BillingRun, ...]:
    """Of the runs that are not over those that may be billed at this moment, with the price of the offer taken."""
    prices = "SELECT json_extract(offer_json, '$.price_usd_per_hour') FROM launches WHERE run_id = ?"
    found = []
    for run in runs:
        if run.state in MAY_BILL:
            row = db.execute(prices, (run.run_id,)).fetchone()
            price = None if row is None else money_from_text(row[0])
            found.append(BillingRun(run_id=run.run_id, state=run.state, price_usd_per_hour=price))
    return tuple(found)
