"""Runs of a ledger in a file, brought into one on a server: each once, whole, and only when it is over.

Owns which rows go and what changes on the way: rows get numbers of the new ledger, runs of which nobody knows who
launched them belong to whoever copies. Budgets stay: those of one person are not those of a team.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manager.runs.database import Database
from manager.runs.ledger import Ledger
from manager.runs.ledger_reader import LedgerReader
from manager.runs.migrations import TABLES
from manager.runs.states import FINAL, RunState

_NOT_COPIED = ("budgets",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What became of the runs; names, oldest first."""

    copied: tuple[str, ...]
    present: tuple[str, ...]
    """Were there before."""
    not_over: tuple[str, ...]
    """Stay, for their supervision writes where it began; copied by a later call."""


def copy_runs(source: LedgerReader, target: Ledger, user: str) -> Copied:
    """Copy every run that is over and not there yet, each in a transaction of its own.

    Args:
        source: the ledger in a file.
        target: the ledger on a server.
        user: who launched runs of which the source does not say it.

    Raises:
        StateError: one of them cannot be read or written; what was copied before stays.
    """
    every = source.run_ids(RunState)
    over = set(source.run_ids(FINAL))
    there = set(target.run_ids(RunState))
    copied = []
    for run_id in every:
        if run_id in over and run_id not in there and _copy(source, target, run_id, user):
            copied.append(run_id)
    return Copied(
        copied=tuple(copied),
        present=tuple(run_id for run_id in every if run_id in over and run_id not in copied),
        not_over=tuple(run_id for run_id in every if run_id not in over),
    )


def _copy(source: LedgerReader, target: Ledger, run_id: str, user: str) -> bool:
    """False where somebody else was faster."""
    tables = [table for table in TABLES if table not in _NOT_COPIED]
    found = source.look(lambda db: {table: _rows(db, table, run_id) for table in tables})
    with target.store.writing() as db:
        if db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
            return False
        charges: dict[int, int] = {}
        for table in tables:
            for row in found[table]:
                _insert(db, table, _changed(table, row, charges, user), charges)
    return True


def _rows(db: Database, table: str, run_id: str) -> list[dict[str, Any]]:
    columns = [str(row[1]) for row in db.execute(f"PRAGMA table_info({table})").fetchall()]
    order = "id" if columns[0] == "id" else columns[1]
    rows = db.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE run_id = ? ORDER BY {order}", (run_id,))
    return [dict(zip(columns, row, strict=True)) for row in rows.fetchall()]


def _changed(table: str, row: dict[str, Any], charges: dict[int, int], user: str) -> dict[str, Any]:
    if table == "bills":
        return {**row, "charge_id": charges[row["charge_id"]]}
    if table == "run_facts":
        return {**row, "user_name": row["user_name"] or user}
    return row


def _insert(db: Database, table: str, row: dict[str, Any], charges: dict[int, int]) -> None:
    """A row under a number of the new ledger; which one a charge got is noted."""
    values = {name: value for name, value in row.items() if name != "id"}
    sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
    if table == "charges":
        charges[row["id"]] = int(db.execute(f"{sql} RETURNING id", tuple(values.values())).fetchone()[0])
    else:
        db.execute(sql, tuple(values.values()))
