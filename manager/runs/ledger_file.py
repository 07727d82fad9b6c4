"""Opening the ledger's file, and what SQLite's errors mean to a user.

A file that cannot be used is never changed, moved or replaced: it may hold the only trace of a machine that bills.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manager.errors import StateError
from manager.runs.migrations import APPLICATION_ID, LEDGER_VERSION, migrate
from manager.runs.old_runs import has_untold, tell_untold

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOT_WRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_NO_SPACE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


def open_connection(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection to a ledger of this version, created or migrated when needed; mode 0600 when created.

    Raises:
        StateError: the file is damaged, newer, no ledger, locked, or cannot be written.
    """
    try:
        _create(path)
    except OSError as error:
        raise StateError(
            f"the ledger {path} cannot be opened for writing: {error.strerror}",
            hint="Make the folder writable, or point TUNEFARE_HOME at one that is.",
        ) from error
    with explained(path):
        db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            _refuse_foreign(db, path)
            _use_wal(db, busy_timeout_s)
            # Power loss must not take a handle back that a machine is already billed for.
            db.execute("PRAGMA synchronous = FULL")
            with transaction(db):
                _refuse_foreign(db, path)
                migrate(db)
            while has_untold(db):
                with transaction(db):
                    tell_untold(db)
        except BaseException:
            db.close()
            raise
    return db


def open_for_reading(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection that only reads, for a ledger that is there and of this version; any thread may use it in turn.

    Nothing waits for a writer: whoever follows a run must not stand in a queue behind those that supervise some.

    Raises:
        StateError: the file is missing, damaged, of another version or locked.
    """
    with explained(path):
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _refuse_foreign(db, path)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != LEDGER_VERSION:
                raise StateError(
                    f"the ledger {path} has version {version}, this tunefare reads version {LEDGER_VERSION}",
                    hint="Any command that writes brings it up to date: `tunefare runs`.",
                )
        except BaseException:
            db.close()
            raise
    return db


def _create(path: Path) -> None:
    """Make an empty file of mode 0600 where there is none.

    A file that exists is not opened here: closing any descriptor of it would drop the locks that SQLite holds for
    other connections of this process (sqlite.org/howtocorrupt.html, 2.2).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return  # another process was faster
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


class FileStore:
    """A ledger in an SQLite file (`manager.runs.database.Store`)."""

    def __init__(self, path: Path, db: sqlite3.Connection, *, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self.place = str(path)
        self.db = db

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float) -> FileStore:
        """See `open_connection`."""
        return cls(path, open_connection(path, busy_timeout_s=busy_timeout_s), busy_timeout_s=busy_timeout_s)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A deferred transaction: all reads see the same moment and no writer waits."""
        with explained(self._path):
            self.db.execute("BEGIN")
            try:
                yield self.db
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """With the write lock from the start."""
        with explained(self._path), transaction(self.db):
            yield self.db

    def reopen(self) -> FileStore:
        """The same file through another connection."""
        return FileStore.open(self._path, busy_timeout_s=self._busy_timeout_s)

    def run_dir(self, _run_id: str, stored: str) -> Path:
        """Where it was made: the machine of the file has its folders."""
        return Path(stored)

    def close(self) -> None:
        """Close the connection."""
        self.db.close()


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the start: what is read inside is still true when it is written."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StateError with a hint."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _explain(error, path) from error


def _explain(error: sqlite3.DatabaseError, path: Path) -> StateError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGED:
        return StateError(
            f"the ledger {path} is damaged: {error}",
            hint=(
                f"It was left as it is. Move it away (mv {path} {path}.damaged), then restore a backup, or recover "
                f"what can be read: sqlite3 {path}.damaged .recover | sqlite3 {path}. Check your providers' consoles "
                f"for machines that still run."
            ),
        )
    if code in _BUSY:
        return StateError(
            f"the ledger {path} is locked by another process",
            hint=f"Find it with `fuser {path}`; wait for it or end it, then try again.",
        )
    if code in _NOT_WRITABLE:
        return StateError(
            f"the ledger {path} cannot be written: {error}",
            hint="Make the folder and the file writable, or point TUNEFARE_HOME at a folder that is.",
        )
    if code in _NO_SPACE:
        return StateError(
            f"the ledger {path} cannot be written: {error}",
            hint="Free space on this disk, or move TUNEFARE_HOME to one with space; then run `tunefare reconcile`.",
        )
    return StateError(f"the ledger {path} refused: {error}", hint="This is a defect of tunefare; please report it.")


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > LEDGER_VERSION:
        raise StateError(
            f"the ledger {path} has version {version}, this tunefare knows up to {LEDGER_VERSION}",
            hint="Update tunefare, or point TUNEFARE_HOME at another folder.",
        )
    application = db.execute("PRAGMA application_id").fetchone()[0]
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application != APPLICATION_ID and not (empty and version == 0):
        raise StateError(
            f"{path} is an SQLite file but not a ledger of tunefare",
            hint="Move it away, or point TUNEFARE_HOME at another folder.",
        )


def _use_wal(db: sqlite3.Connection, busy_timeout_s: float) -> None:
    deadline = time.monotonic() + busy_timeout_s
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite gives up at once, without its busy handler, when two processes create the file together.
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
