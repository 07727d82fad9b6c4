"""The ledger's schema, as numbered steps; a step that was released is never changed.

Each table is append-only: what a run is follows from its rows, oldest first. Triggers refuse UPDATE and DELETE, so that
a mistake in a later version cannot rewrite what was billed. Times are Unix seconds, money is text (Decimal), `*_json`
columns carry the value of that name.

| table | one row is |
|---|---|
| runs | a run as it was asked for |
| state_changes | a state that it entered |
| handles | where it is, before and after the launch |
| launches | a launch that succeeded: offer taken, start of billing |
| failed_attempts | an offer without capacity, one sentence |
| events | a line of the training program's event stream |
| charges | a billed stretch of machine time |
| evidence | what the provider answered when asked what is left |
| clients | a process that took over the supervision |
| stop_requests | somebody asked for an end |
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x54464C31
"""`TFL1` in the file's header: a ledger, not just any SQLite file."""

_TABLES: dict[str, str] = {
    "runs": """run_id TEXT PRIMARY KEY, created_at_s REAL NOT NULL, plan_json TEXT NOT NULL, run_dir TEXT NOT NULL,
        engine TEXT NOT NULL, cap_usd TEXT""",
    "state_changes": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, state TEXT NOT NULL,
        at_s REAL NOT NULL, detail TEXT""",
    "handles": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, at_s REAL NOT NULL,
        handle_json TEXT NOT NULL""",
    "launches": """run_id TEXT PRIMARY KEY REFERENCES runs, at_s REAL NOT NULL, offer_json TEXT NOT NULL,
        billing_started_at_s REAL NOT NULL""",
    "failed_attempts": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, at_s REAL NOT NULL,
        message TEXT NOT NULL""",
    "events": """run_id TEXT NOT NULL REFERENCES runs, seq INTEGER NOT NULL, line TEXT NOT NULL,
        PRIMARY KEY (run_id, seq)""",
    "charges": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, at_s REAL NOT NULL,
        from_s REAL NOT NULL, to_s REAL NOT NULL CHECK (to_s >= from_s), price_usd_per_hour TEXT, amount_usd TEXT,
        what TEXT NOT NULL""",
    "evidence": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, asked_at_s REAL NOT NULL,
        confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)), source TEXT NOT NULL, answer TEXT NOT NULL,
        left_json TEXT NOT NULL""",
    "clients": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, at_s REAL NOT NULL,
        host TEXT NOT NULL, pid INTEGER NOT NULL, created_at_s REAL NOT NULL""",
    "stop_requests": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, at_s REAL NOT NULL,
        detail TEXT NOT NULL""",
}


def _migrate_to_1(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for table, columns in _TABLES.items():
        db.execute(f"CREATE TABLE {table} ({columns})")
        for verb in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
        if "id INTEGER" in columns:
            db.execute(f"CREATE INDEX {table}_by_run ON {table} (run_id, id)")


MIGRATIONS = (_migrate_to_1,)
"""MIGRATIONS[n] brings a ledger of version n to version n + 1."""
LEDGER_VERSION = len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the ledger to LEDGER_VERSION inside the transaction that the caller holds."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version, LEDGER_VERSION):
        MIGRATIONS[number](db)
        db.execute(f"PRAGMA user_version = {number + 1}")
