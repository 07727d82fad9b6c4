"""The sums behind the line of money read indexes, not tables: it is drawn every few seconds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from manager.runs.budget_rows import open_runs, spent_between
from manager.runs.ledger import Ledger


def statements(file: Path) -> list[str]:
    """What SQLite does for each question, step by step."""
    db = sqlite3.connect(file)
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    open_runs(db)
    spent_between(db, 0.0, 1.0)
    db.set_trace_callback(None)
    return [" / ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")) for sql in asked]


def test_ends_and_charges_are_found_by_their_index(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    Ledger.open(file).close()
    runs, month, edges = statements(file)
    assert "ended_runs (run_id=?)" in runs
    assert month == "SEARCH charges USING COVERING INDEX charges_by_end (to_s>? AND to_s<?)"
    assert "SCAN" not in edges
    assert edges.count("USING COVERING INDEX charges_by_end") == 2
