"""What lists need of runs that an older version wrote: told a few runs at a time.

Plans are large. A ledger of many old runs must not be locked for as long as it takes to read them all, since processes
that supervise runs wait for that lock, and not forever.
"""

from __future__ import annotations

import sqlite3

from manager.runs.facts import estimate_row, fact_row, read_plan
from manager.runs.migrations import insert
from manager.runs.rows import bill_row, charge_from_row, offer_from_json

_BATCH = 25
"""Runs in one transaction: a fraction of a second."""


def has_untold(db: sqlite3.Connection) -> bool:
    """Whether a run has no facts yet."""
    return bool(db.execute("SELECT (SELECT count(*) FROM runs) > (SELECT count(*) FROM run_facts)").fetchone()[0])


def tell_untold(db: sqlite3.Connection) -> None:
    """Facts, estimate and bill of the next few runs that have none, inside the transaction that the caller holds."""
    sql = "SELECT run_id FROM runs WHERE run_id NOT IN (SELECT run_id FROM run_facts) LIMIT ?"
    for (run_id,) in db.execute(sql, (_BATCH,)).fetchall():
        _tell(db, run_id)


def _tell(db: sqlite3.Connection, run_id: str) -> None:
    run = db.execute("SELECT created_at_s, engine, cap_usd, plan_json FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    plan = read_plan(run[3])
    insert(db, "run_facts", (run_id, *run[:3], *fact_row(plan), None))
    launch = db.execute("SELECT offer_json FROM launches WHERE run_id = ?", (run_id,)).fetchone()
    estimate = estimate_row(plan, None if launch is None else offer_from_json(launch[0]))
    if estimate is not None:
        insert(db, "estimates", (None, run_id, *estimate))
    charges = db.execute(
        "SELECT at_s, from_s, to_s, price_usd_per_hour, amount_usd, what, id FROM charges WHERE run_id = ? ORDER BY id",
        (run_id,),
    ).fetchall()
    if charges:
        bill = bill_row([charge_from_row(row) for row in charges])
        db.execute("INSERT OR IGNORE INTO bills VALUES (?, ?, ?, ?)", (run_id, charges[-1][6], *bill))
