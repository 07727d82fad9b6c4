"""What the ledger tells; writing is `manager.runs.ledger`, which builds on this class."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from manager.errors import UsageError
from manager.planner.codec import plan_from_text
from manager.runs import rows
from manager.runs.changes import Changes, Marks, read_changes
from manager.runs.clients import Client
from manager.runs.ledger_file import explained
from manager.runs.records import RunEvents, RunRecord, StopRequest
from manager.runs.states import FINAL, RunState
from manager.runs.summary import RunSummary, read_summaries
from tasks.protocol import Event, parse_event

T = TypeVar("T")


class LedgerReader:
    """The reading half of an open ledger; each method sees one moment of it."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    def client(self, run_id: str) -> Client | None:
        """Who supervises the run, or did last."""
        with self._read():
            return self._client(run_id)

    def stop_request(self, run_id: str) -> StopRequest | None:
        """Why the run shall end, or None when nobody asked; the most urgent request, of these the first."""
        with self._read() as db:
            sql = "SELECT detail, now FROM stop_requests WHERE run_id = ? ORDER BY now DESC, id LIMIT 1"
            row = db.execute(sql, (run_id,)).fetchone()
        return None if row is None else StopRequest(detail=str(row[0]), now=bool(row[1]))

    def last_activity_s(self, run_id: str) -> float:
        """Unix time of the newest row that a supervising client wrote."""
        with self._read() as db:
            sql = (
                "SELECT max(t) FROM (SELECT max(at_s) AS t FROM state_changes WHERE run_id = :run UNION ALL"
                " SELECT max(at_s) FROM charges WHERE run_id = :run UNION ALL"
                " SELECT max(at_s) FROM clients WHERE run_id = :run)"
            )
            return float(db.execute(sql, {"run": run_id}).fetchone()[0])

    def resolve(self, prefix: str) -> str:
        """The run of this name, or the only one that starts so.

        Raises:
            UsageError: none, or several.
        """
        with self._read() as db:
            sql = "SELECT run_id FROM runs WHERE substr(run_id, 1, length(?)) = ? ORDER BY created_at_s DESC"
            found = [str(row[0]) for row in db.execute(sql, (prefix, prefix))]
        if prefix in found or (len(found) == 1 and prefix):
            return prefix if prefix in found else found[0]
        if not found or not prefix:
            raise UsageError(f"no run is called {prefix!r}", hint="List them with `tunefare runs`.")
        raise UsageError(f"{len(found)} runs start with {prefix!r}", hint=f"Newest: {', '.join(found[:5])}.")

    def run(self, run_id: str) -> RunRecord:
        """A run by its name or a unique beginning of it; UsageError when there is none."""
        run_id = self.resolve(run_id)
        with self._read():
            return self._record(run_id)

    def state(self, run_id: str) -> RunState:
        """Where the run stands, without reading all of it."""
        with self._read():
            return self._state(run_id)

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, newest first."""
        with self._read() as db:
            found = db.execute("SELECT run_id FROM runs ORDER BY created_at_s DESC, run_id DESC").fetchall()
            return tuple(self._record(row[0]) for row in found)

    def summaries(self, known: Mapping[str, RunSummary] | None = None) -> list[RunSummary]:
        """All runs in one line each, in no order; `has_client` is unknown of all.

        Args:
            known: what was read before, by name: runs that were over then are not read again.
        """
        over = {run_id: run for run_id, run in (known or {}).items() if run.state in FINAL}
        with self._read() as db:
            if not over:
                return read_summaries(db)
            names = [str(row[0]) for row in db.execute("SELECT run_id FROM runs")]
            rest = [name for name in names if name not in over]
            return [*(over[name] for name in names if name in over), *read_summaries(db, rest)]

    def run_ids(self, states: Iterable[RunState]) -> tuple[str, ...]:
        """Names of the runs in these states, oldest first."""
        wanted = set(states)
        with self._read() as db:
            found = [str(row[0]) for row in db.execute("SELECT run_id FROM runs ORDER BY created_at_s, run_id")]
            return tuple(run_id for run_id in found if self._state(run_id) in wanted)

    def events(self, run_id: str, after_seq: int = -1) -> tuple[Event, ...]:
        """Events with seq > after_seq, oldest first."""
        with self._read() as db:
            sql = "SELECT line FROM events WHERE run_id = ? AND seq > ? ORDER BY seq"
            return tuple(parse_event(row[0]) for row in db.execute(sql, (run_id, after_seq)))

    def changes(self, run_id: str, since: Marks, *, most_events: int) -> Changes:
        """What a run has beyond what is known of it (`manager.runs.changes`)."""
        with self._read() as db:
            return read_changes(db, run_id, since, most_events=most_events)

    def look(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` finds, all of one moment."""
        with self._read() as db:
            return read(db)

    def run_events(self, run_id: str) -> RunEvents:
        """A run with all its events, as of one moment; the name may be a unique beginning."""
        run_id = self.resolve(run_id)
        with self._read() as db:
            lines = db.execute("SELECT line FROM events WHERE run_id = ? ORDER BY seq", (run_id,))
            return RunEvents(record=self._record(run_id), events=tuple(parse_event(row[0]) for row in lines))

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        # A deferred transaction: all reads see the same moment and no writer waits.
        with explained(self._path):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _state(self, run_id: str) -> RunState:
        sql = "SELECT state FROM state_changes WHERE run_id = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(sql, (run_id,)).fetchone()
        if row is None:
            raise UsageError(f"no run is called {run_id!r}", hint="List them with `tunefare runs`.")
        return RunState(row[0])

    def _last_seq(self, run_id: str) -> int:
        row = self._db.execute("SELECT max(seq) FROM events WHERE run_id = ?", (run_id,)).fetchone()
        return -1 if row[0] is None else int(row[0])

    def _client(self, run_id: str) -> Client | None:
        sql = "SELECT id, at_s, host, pid, created_at_s FROM clients WHERE run_id = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(sql, (run_id,)).fetchone()
        if row is None:
            return None
        return Client(row_id=row[0], at_s=row[1], host=row[2], pid=row[3], created_at_s=row[4])

    def _record(self, run_id: str) -> RunRecord:
        select = self._db.execute
        run = select("SELECT created_at_s, plan_json, run_dir, engine, cap_usd FROM runs WHERE run_id = ?", (run_id,))
        created_at_s, plan_json, run_dir, engine, cap_usd = run.fetchone()
        of_run = "WHERE run_id = ? ORDER BY id"
        changes = select(f"SELECT state, at_s, detail FROM state_changes {of_run}", (run_id,)).fetchall()
        charges = select(
            f"SELECT at_s, from_s, to_s, price_usd_per_hour, amount_usd, what FROM charges {of_run}", (run_id,)
        ).fetchall()
        evidence = select(
            f"SELECT asked_at_s, confirmed, source, answer, left_json FROM evidence {of_run}", (run_id,)
        ).fetchall()
        handle = select(f"SELECT handle_json FROM handles {of_run} DESC LIMIT 1", (run_id,)).fetchone()
        launch = select("SELECT offer_json, billing_started_at_s FROM launches WHERE run_id = ?", (run_id,)).fetchone()
        attempts = select(f"SELECT message FROM failed_attempts {of_run}", (run_id,)).fetchall()
        history = tuple(rows.state_change_from_row(row) for row in changes)
        over = history[-1].state in FINAL
        return RunRecord(
            run_id=run_id,
            state=history[-1].state,
            created_at_s=created_at_s,
            plan=plan_from_text(plan_json),
            run_dir=Path(run_dir),
            engine=engine,
            cap_usd=rows.money_from_text(cap_usd),
            handle=None if handle is None else rows.handle_from_json(handle[0]),
            offer=None if launch is None else rows.offer_from_json(launch[0]),
            billing_started_at_s=None if launch is None else launch[1],
            billing_ended_at_s=charges[-1][2] if over and charges else None,
            history=history,
            charges=tuple(rows.charge_from_row(row) for row in charges),
            evidence=tuple(rows.evidence_from_row(row) for row in evidence),
            failed_attempts=tuple(str(row[0]) for row in attempts),
            last_seq=self._last_seq(run_id),
        )
