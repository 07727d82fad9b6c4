"""What the ledger's SQL needs of a database, and the two kinds of place that have one: a file, or a server.

The SQL of this package is one text for both: `?` and `:name` stand for values, and what one of them lacks is given to
it under the name of the other (`manager.runs.postgres_schema`). Owns no SQL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Protocol

from manager.errors import StateError

Values = Sequence[Any] | Mapping[str, Any]


class LedgerAwayError(StateError):
    """The server that holds the ledger does not answer now; what was to be written may be written later."""


class Found(Protocol):
    """Rows that a statement gave."""

    def fetchone(self) -> Any:
        """The next row; None when there is none."""

    def fetchall(self) -> list[Any]:
        """All that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows, one at a time."""


class Database(Protocol):
    """A connection in a transaction that the caller holds; an `sqlite3.Connection` is one."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Found:
        """Run a statement with its values."""

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        """Run a statement once for each row of values."""


class Store(Protocol):
    """The place of a ledger, with an open connection; one thread at a time uses it."""

    @property
    def place(self) -> str:
        """As a person reads it, without secrets."""

    @property
    def db(self) -> Database:
        """Inside one of the transactions below."""

    def reading(self) -> AbstractContextManager[Database]:
        """All reads see the same moment; no writer is waited for.

        Raises:
            StateError: it cannot be read.
        """

    def writing(self) -> AbstractContextManager[Database]:
        """All or nothing, alone from the start: what is read inside is still true when it is written.

        Raises:
            StateError: it cannot be written; LedgerAwayError where that may pass.
        """

    def reopen(self) -> Store:
        """The same place through a connection of its own, for another thread."""

    def run_dir(self, run_id: str, stored: str) -> Path:
        """Where a run's folder is on this machine."""

    def close(self) -> None:
        """Give the connection up."""


def is_shared(db: Database) -> bool:
    """Whether several machines write: their clocks and time zones differ, so those of the database hold."""
    return not isinstance(db, sqlite3.Connection)


def now_of(db: Database, now_s: float) -> float:
    """The present moment where it decides something; Unix time in seconds.

    Args:
        db: in a transaction.
        now_s: by the clock of this machine, which holds where only this machine writes.
    """
    return float(db.execute("SELECT stored_now_s()").fetchone()[0]) if is_shared(db) else now_s


def zone_of(db: Database) -> tzinfo | None:
    """Of calendar months and days: UTC where people share a ledger; None: that of this machine."""
    return UTC if is_shared(db) else None
