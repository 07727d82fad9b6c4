"""When the price of an offer changed: one row per change, kept in SQLite in the cache folder.

Rows are written when catalogs are refreshed, never when they are read. What is lost with the file is history alone:
no price depends on it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType

from manager.errors import StateError

KEPT_S = 730 * 86_400.0
"""Two years; of older prices the one that held when that time began stays."""
_LOCK_TIMEOUT_S = 2.0
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS offers (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, cloud TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS prices (
    offer INTEGER NOT NULL REFERENCES offers (id), as_of_s REAL NOT NULL, usd TEXT, PRIMARY KEY (offer, as_of_s)
) WITHOUT ROWID;
"""
_LAST_OF_CLOUD = """
SELECT key, id, usd, max(as_of_s) FROM offers JOIN prices ON prices.offer = offers.id WHERE cloud = ? GROUP BY id
"""
_PRUNE = """
DELETE FROM prices WHERE as_of_s < (
    SELECT max(later.as_of_s) FROM prices AS later WHERE later.offer = prices.offer AND later.as_of_s <= :horizon_s
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """One price and since when it held."""

    as_of_s: float
    """Unix time in seconds of the catalog that said so first."""
    usd_per_hour: Decimal | None
    """None: unknown from then on, or not offered any more."""
    change_share: float | None
    """Against the price before it: 0.1 is 10 % dearer; None where one of them is unknown."""


class PriceHistory:
    """The database; use it as a context manager."""

    def __init__(self, file: Path) -> None:
        """Open it, and create it where there is none.

        Raises:
            StateError: it cannot be opened, is damaged, or was written by a newer version.
        """
        self._file = file
        with self._told():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=_LOCK_TIMEOUT_S)
        try:
            with self._told():
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> PriceHistory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def record(self, cloud: str, prices: Mapping[str, Decimal | None], *, as_of_s: float) -> int:
        """Keep what has changed in one cloud's catalog; the number of changed prices, 0 for the first catalog.

        An offer that is gone gets a row without a price. A catalog that is not newer than the last one is left out.

        Args:
            cloud: as in `Offer.cloud`.
            prices: key of the offer -> dollars per hour, for all offers of the cloud.
            as_of_s: Unix time of the catalog.

        Raises:
            StateError: the database cannot be read or written.
        """
        with self._told(), self._database:
            # The lock is taken before the last prices are read: two refreshes at once would both see a change.
            self._database.execute("BEGIN IMMEDIATE")
            last = {
                key: (row_id, text, at) for key, row_id, text, at in self._database.execute(_LAST_OF_CLOUD, (cloud,))
            }
            if last and as_of_s <= max(at for _, _, at in last.values()):
                return 0
            changed = _changes(last, prices)
            self._database.executemany(
                "INSERT OR IGNORE INTO offers (key, cloud) VALUES (?, ?)", [(key, cloud) for key in changed]
            )
            self._database.executemany(
                "INSERT INTO prices (offer, as_of_s, usd) SELECT id, ?, ? FROM offers WHERE key = ?",
                [(as_of_s, text, key) for key, text in changed.items()],
            )
            return len(changed) if last else 0

    def prune(self, *, now_s: float) -> int:
        """Forget what is older than `KEPT_S`; the number of forgotten prices.

        Raises:
            StateError: the database cannot be written.
        """
        horizon_s = now_s - KEPT_S
        with self._told(), self._database:
            forgotten = self._database.execute(_PRUNE, {"horizon_s": horizon_s}).rowcount
            forgotten += self._database.execute(
                "DELETE FROM prices WHERE usd IS NULL AND as_of_s < ? AND offer NOT IN "
                "(SELECT offer FROM prices WHERE as_of_s >= ?)",
                (horizon_s, horizon_s),
            ).rowcount
            self._database.execute("DELETE FROM offers WHERE id NOT IN (SELECT offer FROM prices)")
        return forgotten

    def points(self, key: str) -> tuple[PricePoint, ...]:
        """All prices of one offer, oldest first; empty when there is none.

        Raises:
            StateError: the database cannot be read.
        """
        query = "SELECT as_of_s, usd FROM prices JOIN offers ON id = offer WHERE key = ? ORDER BY as_of_s"
        with self._told():
            rows = self._database.execute(query, (key,)).fetchall()
        points: list[PricePoint] = []
        for as_of_s, text in rows:
            usd = None if text is None else Decimal(text)
            before = points[-1].usd_per_hour if points else None
            change = None if usd is None or not before else float(usd / before - 1)
            points.append(PricePoint(as_of_s=as_of_s, usd_per_hour=usd, change_share=change))
        return tuple(points)

    def has(self, cloud: str) -> bool:
        """Whether there is any price of this cloud.

        Raises:
            StateError: the database cannot be read.
        """
        with self._told():
            return (
                self._database.execute("SELECT 1 FROM offers WHERE cloud = ? LIMIT 1", (cloud,)).fetchone() is not None
            )

    def keys(self) -> tuple[str, ...]:
        """Keys of all offers that have a history, in order.

        Raises:
            StateError: the database cannot be read.
        """
        with self._told():
            return tuple(key for (key,) in self._database.execute("SELECT key FROM offers ORDER BY key"))

    def _prepare(self) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > _SCHEMA_VERSION:
            raise StateError(f"price history {self._file} was written by a newer tunefare", hint="update tunefare")
        if version < _SCHEMA_VERSION:
            self._database.executescript(_SCHEMA)
            self._database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            self._database.commit()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as sentences."""
        try:
            yield
        except sqlite3.OperationalError as error:
            is_locked = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            hint = "another tunefare writes it; try again" if is_locked else "check the folder's permissions and space"
            raise StateError(f"price history {self._file} cannot be used: {error}", hint=hint) from error
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"price history {self._file} is damaged: {error}",
                hint="delete that file: prices do not depend on it, and the next refresh begins a new one",
            ) from error
        except OSError as error:
            raise StateError(
                f"price history {self._file} cannot be used: {error}", hint="check the folder's permissions"
            ) from error


def _changes(
    last: Mapping[str, tuple[int, str | None, float]], prices: Mapping[str, Decimal | None]
) -> dict[str, str | None]:
    """Key -> price as text, of the offers whose price is another than the last one known."""
    changed: dict[str, str | None] = {}
    for key, usd in prices.items():
        text = None if usd is None else format(usd.normalize(), "f")
        if key not in last or last[key][1] != text:
            changed[key] = text
    changed.update({key: None for key, (_, text, _) in last.items() if key not in prices and text is not None})
    return changed
