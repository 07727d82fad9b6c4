"""A ledger on a PostgreSQL server, for people who share one.

Same promises as an SQLite file. Who writes takes one lock of the whole ledger with the first statement and keeps it to
the commit, as BEGIN IMMEDIATE does: what is read inside is still true when it is written, rows become visible in the
order of their numbers, and two people cannot spend the same dollars. Reads are of one moment and wait for nobody.
No wait is without an end, for supervision must go on when the server is gone.
"""

from __future__ import annotations

import atexit
import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg

from manager.config import without_password
from manager.errors import StateError
from manager.runs.database import Found, LedgerAwayError
from manager.runs.migrations import APPLICATION_ID, LEDGER_VERSION
from manager.runs.postgres_schema import migrate_postgres, version_of

CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 30.0
"""For one statement, beyond the patience with others that write."""
_ABANDONED_S = 60
"""The server ends a transaction whose client has said nothing for so long: it holds the lock."""
_IDLE_CONNECTIONS = 2
"""Kept a process and place: screens look every few seconds, and each look is short."""
_ADVICE = re.compile(r"\s*Is the server running ")
_LOCK = f"SELECT pg_advisory_xact_lock({APPLICATION_ID}, hashtext(current_schema()))"


class Connection(psycopg.Connection[Any]):
    """Gives up on a server that keeps the connection and says nothing; psycopg by itself waits for ever."""

    patience_s = ANSWER_TIMEOUT_S
    is_checked = False
    """Whether the ledger at its other end was found to be of this version."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """As psycopg's own, and not beyond the patience."""
        try:
            return super().wait(_until(gen, time.monotonic() + self.patience_s), *args, **options)
        except _SilentError:
            self.pgconn.finish()
            raise


class PostgresDatabase:
    """A connection that takes the SQL of this package (`manager.runs.database.Database`)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def execute(self, sql: str, parameters: Any = (), /) -> Found:
        """Run a statement with its values."""
        if not parameters:
            return self.connection.execute(sql)
        return self.connection.execute(_translated(sql), _storable(parameters))

    def executemany(self, sql: str, parameters: Any, /) -> None:
        """Run a statement once for each row of values, without waiting for each answer."""
        with self.connection.cursor() as cursor:
            cursor.executemany(_translated(sql), [_storable(row) for row in parameters])


class PostgresStore:
    """See `manager.runs.database.Store`; connects again when the connection was lost."""

    def __init__(self, url: str, *, runs_dir: Path | None, patience_s: float) -> None:
        self.place = without_password(url)
        self.url = url
        self._runs_dir = runs_dir
        self._patience_s = patience_s
        self._db: PostgresDatabase | None = None

    @classmethod
    def open(cls, url: str, *, runs_dir: Path | None, patience_s: float) -> PostgresStore:
        """Connect; the schema is created or brought to this version.

        Raises:
            StateError: the server does not answer, does not let this user in, or holds a newer ledger.
        """
        store = cls(url, runs_dir=runs_dir, patience_s=patience_s)
        with store._explained():
            store._connected()
        return store

    @property
    def db(self) -> PostgresDatabase:
        """Inside a transaction."""
        assert self._db is not None, "a transaction has a connection"
        return self._db

    @contextmanager
    def reading(self) -> Iterator[PostgresDatabase]:
        """All reads see the same moment."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[PostgresDatabase]:
        """With the ledger's lock from the start; each statement sees what was committed before the lock was taken."""
        with self._transaction(f"BEGIN ISOLATION LEVEL READ COMMITTED; {_LOCK}") as db:
            yield db

    def reopen(self) -> PostgresStore:
        """The same ledger through another connection."""
        return PostgresStore.open(self.url, runs_dir=self._runs_dir, patience_s=self._patience_s)

    def run_dir(self, run_id: str, stored: str) -> Path:
        """Where it was made, when that is here; else where a run of this machine would have it."""
        here = Path(stored)
        if self._runs_dir is None:
            return here
        with suppress(OSError):
            if here.exists():
                return here
        return self._runs_dir / run_id

    def close(self) -> None:
        """Give the connection back; a few are kept for the next look."""
        db, self._db = self._db, None
        if db is not None:
            _IDLE.put(self.url, db.connection)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[PostgresDatabase]:
        with self._explained():
            db = self._begin(begin)
            try:
                yield db
            except BaseException:
                with suppress(psycopg.Error):
                    db.connection.execute("ROLLBACK")
                raise
            db.connection.execute("COMMIT")

    def _begin(self, begin: str) -> PostgresDatabase:
        """Once more where a connection turns out to be dead: nothing was read or written on it."""
        for is_last in (False, True):
            db = self._connected()
            try:
                db.connection.execute(begin)
            except psycopg.OperationalError as error:
                if is_last or not db.connection.closed or isinstance(error, _SilentError):
                    with suppress(psycopg.Error):
                        db.connection.execute("ROLLBACK")
                    raise
                continue
            return db
        raise AssertionError("the last attempt returns or raises")

    def _connected(self) -> PostgresDatabase:
        if self._db is None or self._db.connection.closed:
            connection = self._idle() or self._prepared(_connect(self.url))
            self._db = PostgresDatabase(connection)
            if not connection.is_checked:
                try:
                    self._check_version(self._db)
                except BaseException:
                    connection.close()
                    raise
                connection.is_checked = True
        return self._db

    def _idle(self) -> Connection | None:
        """One that is kept and still answers."""
        while (connection := _IDLE.take(self.url)) is not None:
            with suppress(psycopg.OperationalError):
                return self._prepared(connection)
            connection.close()
        return None

    def _prepared(self, connection: Connection) -> Connection:
        connection.patience_s = self._patience_s + ANSWER_TIMEOUT_S
        connection.execute(
            f"SET lock_timeout = {max(int(self._patience_s * 1000), 1)}; "
            f"SET idle_in_transaction_session_timeout = {_ABANDONED_S * 1000}; "
            f"SET statement_timeout = {int(connection.patience_s * 1000)}; SET client_min_messages = warning"
        )
        return connection

    def _check_version(self, db: PostgresDatabase) -> None:
        version = version_of(db)
        if version is not None and version > LEDGER_VERSION:
            raise StateError(
                f"the ledger {self.place} has version {version}, this tunefare knows up to {LEDGER_VERSION}",
                hint="Update tunefare on this machine; all who share a ledger need the newest version among them.",
            )
        if version == LEDGER_VERSION:
            return
        if db.execute("SELECT current_schema()").fetchone()[0] is None:
            raise StateError(
                f"the ledger {self.place} has no schema to be created in",
                hint="Create one, or name it in the URL: ...?options=-csearch_path%3Dtunefare",
            )
        with db.connection.transaction():
            db.connection.execute(_LOCK)
            migrate_postgres(db)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: psycopg.Error) -> StateError:
        told = _scrubbed(str(error), self.url)
        if isinstance(error, pg.LockNotAvailable | pg.QueryCanceled | pg.DeadlockDetected):
            return LedgerAwayError(
                f"the ledger {self.place} is locked by somebody else",
                hint="Try again; `SELECT * FROM pg_locks WHERE locktype = 'advisory'` there tells who holds it.",
            )
        if isinstance(error, pg.InsufficientPrivilege):
            return StateError(
                f"the ledger {self.place} does not let this user do that: {told}",
                hint="Its owner grants it; see docs/team.md for the statements.",
            )
        if isinstance(error, pg.InvalidPassword | pg.InvalidAuthorizationSpecification) or "password" in told:
            return LedgerAwayError(
                f"the ledger {self.place} does not let this user in: {told}",
                hint="Give the password by ~/.pgpass or PGPASSWORD; the user stands in the URL.",
            )
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | pg.IdleInTransactionSessionTimeout):
            return LedgerAwayError(
                f"the ledger {self.place} does not answer: {told}",
                hint="Is the server up, and reachable from here? `tunefare doctor` asks it again.",
            )
        return StateError(
            f"the ledger {self.place} refused: {told}", hint="This is a defect of tunefare; please report it."
        )


class _SilentError(psycopg.OperationalError):
    """No answer in time."""


def _until(gen: Generator[Any, Any, Any], deadline: float) -> Generator[Any, Any, Any]:
    """The same generator; ends with an error where nothing was ready at the deadline."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise _SilentError("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value


class _Idle:
    """Connections that nobody uses now, to the server that was used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._url = ""
        self._kept: list[Connection] = []

    def put(self, url: str, connection: Connection) -> None:
        """Keep one, or close it."""
        if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
            return
        with self._lock:
            kept, rest = (self._kept, []) if url == self._url else ([], self._kept)
            kept.append(connection)
            self._url, self._kept, rest = url, kept[:_IDLE_CONNECTIONS], [*rest, *kept[_IDLE_CONNECTIONS:]]
        for one in rest:
            one.close()

    def take(self, url: str) -> Connection | None:
        """One that may have been cut meanwhile; None: there is none."""
        with self._lock:
            return self._kept.pop() if self._kept and url == self._url else None

    def clear(self) -> None:
        """Close all."""
        with self._lock:
            kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()


_IDLE = _Idle()
atexit.register(_IDLE.clear)


def close_idle() -> None:
    """Close the connections that are kept for the next look."""
    _IDLE.clear()


def _connect(url: str) -> Connection:
    try:
        wanted = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq repeats the URL with its password.
        raise StateError(
            f"{without_password(url)} is no URL of a PostgreSQL database", hint="postgresql://user@host:5432/database"
        ) from None
    usual: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "tunefare",
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    return Connection.connect(url, autocommit=True, **{k: v for k, v in usual.items() if k not in wanted})


@lru_cache(maxsize=512)
def _translated(sql: str) -> str:
    """Marks of values in psycopg's way. No text of this package holds a mark, or a colon before a letter, in quotes."""
    return re.sub(r"(?<!:):([a-z]\w*)", r"%(\1)s", sql.replace("%", "%%").replace("?", "%s"))


def _storable(parameters: Any) -> Any:
    """PostgreSQL's text cannot hold the character 0."""
    if isinstance(parameters, dict):
        return {name: _storable_value(value) for name, value in parameters.items()}
    return tuple(_storable_value(value) for value in parameters)


def _storable_value(value: Any) -> Any:
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _scrubbed(text: str, url: str) -> str:
    """One line, without what the URL has of secrets and the advice that the client library adds to a failure."""
    lines = [line for line in text.replace(url, without_password(url)).splitlines() if not _ADVICE.match(line)]
    return " ".join(" ".join(lines).split())
