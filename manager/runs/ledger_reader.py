"""What the ledger tells; writing is `manager.runs.ledger`, which builds on this class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from manager.errors import UsageError
from manager.planner.codec import plan_from_text
from manager.runs import rows
from manager.runs.changes import Changes, Marks, read_changes
from manager.runs.clients import Client, lives
from manager.runs.database import Database, Store, is_shared, now_of
from manager.runs.ledger_file import FileStore, open_for_reading
from manager.runs.records import RunEvents, RunRecord, StopRequest
from manager.runs.requote_rows import REQUOTE_COLUMNS, RequoteRow, requote_from_row
from manager.runs.states import FINAL, RunState
from manager.runs.summary import RunSummary, read_summaries
from tasks.protocol import Event, parse_event

T = TypeVar("T")
_MARKING = ("state_changes", "charges", "evidence", "clients", "stop_requests", "estimates", "budgets")


class LedgerReader:
    """The reading half of an open ledger; each method sees one moment of it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def open_for_reading(cls, path: Path, *, busy_timeout_s: float) -> Self:
        """A ledger in a file that is there and of this version; see `manager.runs.ledger_file.open_for_reading`."""
        db = open_for_reading(path, busy_timeout_s=busy_timeout_s)
        return cls(FileStore(path, db, busy_timeout_s=busy_timeout_s))

    @property
    def place(self) -> str:
        """Where the ledger is, as a person reads it."""
        return self._store.place

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._store

    @property
    def is_shared(self) -> bool:
        """Whether a server keeps it, for several machines."""
        return not isinstance(self._store, FileStore)

    @property
    def _db(self) -> Database:
        return self._store.db

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

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

    def requotes(self, run_id: str) -> tuple[RequoteRow, ...]:
        """What became of the renewed quote, oldest first."""
        with self._read() as db:
            sql = f"SELECT {REQUOTE_COLUMNS} FROM requotes WHERE run_id = ? ORDER BY id"
            return tuple(requote_from_row(row) for row in db.execute(sql, (run_id,)).fetchall())

    def last_activity_s(self, run_id: str) -> float:
        """Unix time of the newest row that a supervising client wrote."""
        with self._read():
            return self._last_activity_s(run_id, "at_s")

    def client_lives(self, run_id: str, now_s: float) -> bool:
        """Whether the process that looks after the run still does; now_s: Unix time in seconds by this machine."""
        with self._read() as db:
            client = self._client(run_id)
            if not is_shared(db):
                return lives(client, last_activity_s=self._last_activity_s(run_id, "at_s"), now_s=now_s)
            # A server that was down took nothing from anybody: silence counts from its start.
            started_s = db.execute("SELECT extract(epoch FROM pg_postmaster_start_time())").fetchone()[0]
            seen_s = max(float(started_s), self._last_activity_s(run_id, "stored_at_s"))
            return lives(client, last_activity_s=seen_s, now_s=now_of(db, now_s))

    def resolve(self, prefix: str) -> str:
        """The run of this name, or the only one that starts so.

        Raises:
            UsageError: none, or several.
        """
        with self._read() as db:
            sql = "SELECT run_id FROM runs WHERE substr(run_id, 1, length(?)) = ? ORDER BY created_at_s DESC"
            found = [str(row[0]) for row in db.execute(sql, (prefix, prefix)).fetchall()]
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
            names = [str(row[0]) for row in db.execute("SELECT run_id FROM runs").fetchall()]
            rest = [name for name in names if name not in over]
            return [*(over[name] for name in names if name in over), *read_summaries(db, rest)]

    def run_ids(self, states: Iterable[RunState]) -> tuple[str, ...]:
        """Names of the runs in these states, oldest first."""
        wanted = set(states)
        with self._read() as db:
            newest = "SELECT state FROM state_changes WHERE run_id = r.run_id ORDER BY id DESC LIMIT 1"
            found = db.execute(f"SELECT run_id, ({newest}) FROM runs r ORDER BY created_at_s, run_id").fetchall()
            return tuple(str(run_id) for run_id, state in found if RunState(state) in wanted)

    def mark(self) -> tuple[int, ...]:
        """Differs from an earlier one when something was stored that a list of runs or budgets shows."""
        newest = [f"coalesce((SELECT max(id) FROM {table}), 0)" for table in _MARKING]
        with self._read() as db:
            sql = f"SELECT {', '.join(newest)}, (SELECT count(*) FROM milestones)"
            return tuple(int(number) for number in db.execute(sql).fetchone())

    def events(self, run_id: str, after_seq: int = -1) -> tuple[Event, ...]:
        """Events with seq > after_seq, oldest first."""
        with self._read() as db:
            sql = "SELECT line FROM events WHERE run_id = ? AND seq > ? ORDER BY seq"
            return tuple(parse_event(row[0]) for row in db.execute(sql, (run_id, after_seq)).fetchall())

    def changes(self, run_id: str, since: Marks, *, most_events: int) -> Changes:
        """What a run has beyond what is known of it (`manager.runs.changes`)."""
        with self._read() as db:
            return read_changes(db, run_id, since, most_events=most_events)

    def look(self, read: Callable[[Database], T]) -> T:
        """What `read` finds, all of one moment."""
        with self._read() as db:
            return read(db)

    def run_events(self, run_id: str) -> RunEvents:
        """A run with all its events, as of one moment; the name may be a unique beginning."""
        run_id = self.resolve(run_id)
        with self._read() as db:
            lines = db.execute("SELECT line FROM events WHERE run_id = ? ORDER BY seq", (run_id,))
            return RunEvents(record=self._record(run_id), events=tuple(parse_event(row[0]) for row in lines.fetchall()))

    def _read(self) -> AbstractContextManager[Database]:
        return self._store.reading()

    def _last_activity_s(self, run_id: str, column: str) -> float:
        newest = " UNION ALL ".join(
            f"SELECT max({column}) AS moment FROM {table} WHERE run_id = :run"
            for table in ("state_changes", "charges", "clients")
        )
        row = self._db.execute(f"SELECT max(moment) FROM ({newest}) AS newest", {"run": run_id}).fetchone()
        return float(row[0])

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
        sql = f"SELECT {rows.CLIENT_COLUMNS} FROM clients WHERE run_id = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(sql, (run_id,)).fetchone()
        return None if row is None else rows.client_from_row(row)

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
        here = self._store.run_dir(run_id, run_dir)
        user = select("SELECT user_name FROM run_facts WHERE run_id = ?", (run_id,)).fetchone()
        return RunRecord(
            run_id=run_id,
            state=history[-1].state,
            created_at_s=created_at_s,
            plan=plan_from_text(plan_json),
            run_dir=here,
            engine=engine,
            user=None if user is None else user[0],
            cap_usd=rows.money_from_text(cap_usd),
            handle=None if handle is None else replace(rows.handle_from_json(handle[0]), run_dir=str(here)),
            offer=None if launch is None else rows.offer_from_json(launch[0]),
            billing_started_at_s=None if launch is None else launch[1],
            billing_ended_at_s=charges[-1][2] if over and charges else None,
            history=history,
            charges=tuple(rows.charge_from_row(row) for row in charges),
            evidence=tuple(rows.evidence_from_row(row) for row in evidence),
            failed_attempts=tuple(str(row[0]) for row in attempts),
            last_seq=self._last_seq(run_id),
        )
