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
| clients | a process that took over the supervision; `machine` (since version 3): hosts, users of one name apart |
| stop_requests | somebody asked for an end; `now` (since version 2): without a checkpoint |
| requotes | since version 4: what became of the quote that the probe renewed (`manager.runs.requote_rows`) |

What a list needs of many runs, told again from the rows above when those are written (of runs that an older version
wrote by `manager.runs.old_runs`), so that it reads neither plans nor all charges and events (`manager.runs.summary`
reads it); since version 2, and since version 3 with who launched a run (`user_name`, null: nobody knows):

| table | one row is |
|---|---|
| run_facts | what the plan says of a run; null where an old plan cannot be read |
| estimates | the plan's figures for an offer; the newest counts: a fall-back that was taken has its own |
| bills | what a run had cost after a charge; null: unknown |
| milestones | a start, evaluation or end out of the events; of an end `step` is that whose weights were kept, \
`values_json` the metric there |

Of no run, since version 2:

| table | one row is |
|---|---|
| budgets | a limit in dollars that was set for months, a project or a user's months; null: it was taken away |

This module writes the schema of an SQLite file; `manager.runs.postgres_schema` says the same to a server.
"""

from __future__ import annotations

import sqlite3

from manager.runs.database import Database, is_shared
from manager.runs.rows import Row

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


_TABLES_OF_2: dict[str, str] = {
    "run_facts": """run_id TEXT PRIMARY KEY REFERENCES runs, created_at_s REAL NOT NULL, engine TEXT NOT NULL,
        cap_usd TEXT, name TEXT, project TEXT, task TEXT, model TEXT, method TEXT, steps INTEGER""",
    "estimates": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, offer_json TEXT NOT NULL,
        machine TEXT NOT NULL, price_usd_per_hour TEXT,
        usd_low TEXT, usd_expected TEXT, usd_high TEXT, machine_usd TEXT,
        hours_low REAL, hours_expected REAL, hours_high REAL, billed_hours REAL""",
    "bills": """run_id TEXT NOT NULL REFERENCES runs, charge_id INTEGER NOT NULL REFERENCES charges,
        billed_s REAL NOT NULL, cost_usd TEXT, PRIMARY KEY (run_id, charge_id)""",
    "milestones": """run_id TEXT NOT NULL REFERENCES runs, seq INTEGER NOT NULL, type TEXT NOT NULL, stage TEXT,
        step INTEGER, values_json TEXT, PRIMARY KEY (run_id, seq)""",
    "budgets": """id INTEGER PRIMARY KEY, at_s REAL NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, usd TEXT""",
}
_TABLES_OF_4: dict[str, str] = {
    "requotes": """id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, step TEXT NOT NULL,
        at_s REAL NOT NULL, text TEXT NOT NULL, until_s REAL, goes_on INTEGER CHECK (goes_on IN (0, 1))""",
}
TABLES = {**_TABLES, **_TABLES_OF_2, **_TABLES_OF_4}
"""Table -> its columns when it was created."""
ADDED_COLUMNS: dict[str, str] = {
    "stop_requests": "now INTEGER NOT NULL DEFAULT 0 CHECK (now IN (0, 1))",
    "clients": "machine TEXT",
    "run_facts": "user_name TEXT",
}
"""Table -> the column that a later version gave it."""
_ENDS = "'succeeded', 'stopped', 'failed', 'no_capacity', 'interrupted'"
INDEXES = (
    "CREATE INDEX charges_by_end ON charges (to_s, from_s, amount_usd)",
    f"CREATE INDEX ended_runs ON state_changes (run_id) WHERE state IN ({_ENDS})",
)
_KEYED_BY_RUN = ("run_facts", "bills", "milestones")
"""Found by their run alone: the key is the table."""
_MILESTONE = """
    SELECT {row}.run_id, {row}.seq, json_extract({row}.line, '$.type'), json_extract({row}.line, '$.data.stage'),
        coalesce(json_extract({row}.line, '$.data.best.step'), json_extract({row}.line, '$.data.step'),
            json_extract({row}.line, '$.data.steps')),
        coalesce(json_extract({row}.line, '$.data.metrics'), json_extract({row}.line, '$.data.best'))
    {source} WHERE json_extract({row}.line, '$.type') IN ('started', 'evaluation', 'finished', 'failed')"""


def _migrate_to_1(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for table, columns in _TABLES.items():
        _create(db, table, columns)


def _migrate_to_2(db: sqlite3.Connection) -> None:
    _add_column(db, "stop_requests")
    for table, columns in _TABLES_OF_2.items():
        _create(db, table, columns)
    for index in INDEXES:
        db.execute(index)
    # In the database, so that clients of the version before, which may go on for hours, write it too.
    db.execute(
        "CREATE TRIGGER events_to_milestones AFTER INSERT ON events "
        f"BEGIN INSERT INTO milestones {_MILESTONE.format(row='NEW', source='')}; END"
    )
    db.execute(f"INSERT INTO milestones {_MILESTONE.format(row='events', source='FROM events')}")


def _migrate_to_3(db: sqlite3.Connection) -> None:
    _add_column(db, "clients")
    _add_column(db, "run_facts")


def _migrate_to_4(db: sqlite3.Connection) -> None:
    for table, columns in _TABLES_OF_4.items():
        _create(db, table, columns)


def _add_column(db: sqlite3.Connection, table: str) -> None:
    db.execute(f"ALTER TABLE {table} ADD COLUMN {ADDED_COLUMNS[table]}")


def _create(db: sqlite3.Connection, table: str, columns: str) -> None:
    db.execute(f"CREATE TABLE {table} ({columns}){' WITHOUT ROWID' if table in _KEYED_BY_RUN else ''}")
    for verb in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )
    if columns.startswith("id INTEGER") and "run_id" in columns:
        db.execute(f"CREATE INDEX {table}_by_run ON {table} (run_id, id)")


def insert(db: Database, table: str, row: Row) -> None:
    """A row with all its columns; the first may be None where it is the row's number."""
    values = ("DEFAULT" if is_shared(db) else "NULL", *"?" * (len(row) - 1)) if row[0] is None else "?" * len(row)
    db.execute(f"INSERT INTO {table} VALUES ({', '.join(values)})", row[1:] if row[0] is None else row)


MIGRATIONS = (_migrate_to_1, _migrate_to_2, _migrate_to_3, _migrate_to_4)
"""MIGRATIONS[n] brings a ledger of version n to version n + 1."""
LEDGER_VERSION = len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the ledger to LEDGER_VERSION inside the transaction that the caller holds."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    for number in range(version, LEDGER_VERSION):
        MIGRATIONS[number](db)
        db.execute(f"PRAGMA user_version = {number + 1}")
