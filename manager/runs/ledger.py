"""The ledger: what was asked for, where it runs, what it costs, and the proof that it is gone. Rows are only added.

Owns the rules that hold between rows (transitions, gapless events, touching charges) and checks them in the
transaction that writes, so that two processes cannot break them together. One connection serves one thread.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Self

from manager.errors import StateError, UsageError, how_to_install
from manager.launch.engine import Evidence, Handle, Launched
from manager.planner.codec import plan_to_text
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.runs import rows
from manager.runs.bills import bill_of
from manager.runs.budget_rows import check_room, insert_budget
from manager.runs.budgets import BudgetScope, commitment_usd
from manager.runs.clients import Client, is_own, nobody
from manager.runs.database import Database, is_shared
from manager.runs.event_rows import store_events
from manager.runs.facts import PlanJson, estimate_row, fact_row, read_plan
from manager.runs.ledger_file import FileStore
from manager.runs.ledger_reader import LedgerReader
from manager.runs.migrations import insert
from manager.runs.records import Charge
from manager.runs.requote_rows import REQUOTE_COLUMNS, RequoteRow, requote_to_row
from manager.runs.rules import MissingEventsError, check_touches, check_transition, sort_events
from manager.runs.states import RunState
from tasks.protocol import Event, parse_event

__all__ = ["BUSY_TIMEOUT_S", "Ledger", "MissingEventsError"]

BUSY_TIMEOUT_S = 15.0


class Ledger(LedgerReader):
    """An open ledger; use it as a context manager. Every method raises StateError when the file cannot be used."""

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """Open the ledger, create it (mode 0600) or migrate it; a file that cannot be used is left as it is."""
        return cls(FileStore.open(path, busy_timeout_s=busy_timeout_s))

    @classmethod
    def connect(cls, url: str, *, runs_dir: Path | None = None, patience_s: float = BUSY_TIMEOUT_S) -> Self:
        """Open the ledger of a PostgreSQL server, create it or migrate it.

        Args:
            url: `postgresql://user@host/database`.
            runs_dir: where folders of runs that were launched on other machines are; None: as those say.
            patience_s: how long to wait for the server, and for others that write.

        Raises:
            StateError: the server does not answer, does not let this user in, or holds a newer ledger.
            UsageError: the extra with its driver is not installed.
        """
        if importlib.util.find_spec("psycopg") is None:
            raise UsageError("a ledger on a server needs psycopg", hint=how_to_install("postgres"))
        # The driver is an extra, and heavy: who keeps a file has no use for it.
        from manager.runs.postgres import PostgresStore

        return cls(PostgresStore.open(url, runs_dir=runs_dir, patience_s=patience_s))

    def reopen(self) -> Ledger:
        """A connection of its own to the same ledger, for another thread."""
        return Ledger(self._store.reopen())

    def create_run(
        self,
        run_id: str,
        plan: Plan,
        run_dir: Path,
        engine: str,
        cap_usd: Decimal | None,
        at_s: float,
        client: Client | None = None,
        user: str | None = None,
    ) -> None:
        """A new run of a user in state PLANNED, supervised by `client`.

        Raises:
            StateError: a run of this name exists.
            OverBudgetError: the budgets do not hold its cap; another process may have taken what was left.
        """
        plan_json = plan_to_text(plan)
        planned = read_plan(plan_json)
        choice = plan.choice
        high_usd = None if choice is None or choice.cost_usd is None else choice.cost_usd.high
        with self._write() as db:
            if db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
                raise StateError(f"the ledger already has a run {run_id}", hint="Start it again under a new name.")
            check_room(db, plan.spec.project, commitment_usd(engine, cap_usd, high_usd), at_s, user)
            db.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)",
                (run_id, at_s, plan_json, str(run_dir), engine, rows.money_to_text(cap_usd)),
            )
            facts = (run_id, at_s, engine, rows.money_to_text(cap_usd), *fact_row(planned), user)
            insert(db, "run_facts", facts)
            self._insert_estimate(run_id, planned, None)
            self._insert_state(run_id, RunState.PLANNED, at_s, None)
            if client is not None:
                self._insert_client(run_id, client)

    def transition(self, run_id: str, state: RunState, at_s: float, detail: str | None = None) -> None:
        """Enter a state.

        Raises:
            StateError: the table of transitions has no way from the present state to this one.
        """
        with self._write():
            check_transition(run_id, self._state(run_id), state)
            self._insert_state(run_id, state, at_s, detail)

    def store_handle(self, run_id: str, handle: Handle, at_s: float) -> None:
        """Where the run is or will be."""
        with self._write():
            self._insert_handle(run_id, handle, at_s)

    def store_launched(self, run_id: str, launched: Launched, at_s: float) -> None:
        """The launch succeeded: handle, offer taken, start of billing and attempts that failed, together."""
        with self._write() as db:
            self._insert_handle(run_id, launched.handle, at_s)
            offer = rows.offer_to_json(launched.offer)
            db.execute("INSERT INTO launches VALUES (?, ?, ?, ?)", (run_id, at_s, offer, launched.billing_started_at_s))
            plan_json = db.execute("SELECT plan_json FROM runs WHERE run_id = ?", (run_id,)).fetchone()[0]
            self._insert_estimate(run_id, read_plan(plan_json), launched.offer)
            self._insert_attempts(run_id, launched.failed_attempts, at_s)

    def add_failed_attempts(self, run_id: str, messages: Sequence[str], at_s: float) -> None:
        """Offers without capacity, when none had any."""
        with self._write():
            self._insert_attempts(run_id, messages, at_s)

    def append_events(self, run_id: str, events: Iterable[Event]) -> tuple[Event, ...]:
        """Store events in order and return those that were new; one that is stored already must be identical.

        Raises:
            MissingEventsError: a sequence number is missing; the events before it are stored.
            StateError: a sequence number has other content than before. Nothing is stored then.
        """
        with self._write() as db:
            found = sort_events(run_id, self._last_seq(run_id), events, lambda seq: self._event(run_id, seq))
            store_events(db, run_id, [(event, _line(event)) for event in found.new])
        found.raise_missing(run_id)
        return found.new

    def add_charge(self, run_id: str, charge: Charge) -> None:
        """A billed stretch.

        Raises:
            StateError: it does not start where the last one, or for the first the billing, ended or began.
        """
        with self._write() as db:
            row = db.execute(
                "SELECT coalesce((SELECT to_s FROM charges WHERE run_id = ? ORDER BY id DESC LIMIT 1),"
                " (SELECT billing_started_at_s FROM launches WHERE run_id = ?))",
                (run_id, run_id),
            ).fetchone()
            check_touches(run_id, row[0], charge)
            ((charge_id,),) = db.execute(
                "INSERT INTO charges (run_id, at_s, from_s, to_s, price_usd_per_hour, amount_usd, what)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                (run_id, *rows.charge_to_row(charge)),
            ).fetchall()
            bill = bill_of(db, run_id)
            insert(db, "bills", (run_id, charge_id, bill.billed_s, rows.money_to_text(bill.cost_usd)))

    def add_evidence(self, run_id: str, evidence: Evidence) -> None:
        """What the provider answered."""
        with self._write() as db:
            db.execute(
                "INSERT INTO evidence (run_id, asked_at_s, confirmed, source, answer, left_json)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (run_id, *rows.evidence_to_row(evidence)),
            )

    def claim(self, run_id: str, client: Client, *, instead_of: Client | None) -> bool:
        """Take the supervision over from a client that is gone; False when another process was faster."""
        with self._write():
            if self._client(run_id) != instead_of:
                return False
            self._insert_client(run_id, client)
            return True

    def beat(self, run_id: str, at_s: float) -> None:
        """A sign of life of this process; nothing where it does not supervise the run (any more)."""
        with self._write():
            client = self._client(run_id)
            if client is not None and is_own(client):
                self._insert_client(run_id, replace(client, row_id=None, at_s=at_s))

    def release(self, run_id: str, at_s: float) -> None:
        """Nobody supervises the run from now on."""
        with self._write():
            self._insert_client(run_id, nobody(at_s))

    def set_budget(self, scope: BudgetScope, name: str, usd: Decimal | None, at_s: float) -> None:
        """Bound a month, a user or a project from now on; None: not any more."""
        with self._write() as db:
            insert_budget(db, scope, name, usd, at_s)

    def request_stop(self, run_id: str, at_s: float, detail: str, *, now: bool = False) -> None:
        """Ask whoever supervises the run to end it; `now`: without waiting for a checkpoint."""
        with self._write() as db:
            sql = "INSERT INTO stop_requests (run_id, at_s, detail, now) VALUES (?, ?, ?, ?)"
            db.execute(sql, (run_id, at_s, detail, int(now)))

    def add_requote(self, run_id: str, row: RequoteRow) -> None:
        """What became of the renewed quote."""
        with self._write() as db:
            sql = f"INSERT INTO requotes (run_id, {REQUOTE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
            db.execute(sql, (run_id, *requote_to_row(row)))

    def settle(self) -> None:
        """Everything is written when this returns; StateError where it is not."""

    def _write(self) -> AbstractContextManager[Database]:
        return self._store.writing()

    def _event(self, run_id: str, seq: int) -> Event | None:
        row = self._db.execute("SELECT line FROM events WHERE run_id = ? AND seq = ?", (run_id, seq)).fetchone()
        return None if row is None else parse_event(row[0])

    def _insert_state(self, run_id: str, state: RunState, at_s: float, detail: str | None) -> None:
        sql = "INSERT INTO state_changes (run_id, state, at_s, detail) VALUES (?, ?, ?, ?)"
        self._db.execute(sql, (run_id, str(state), at_s, detail))

    def _insert_handle(self, run_id: str, handle: Handle, at_s: float) -> None:
        sql = "INSERT INTO handles (run_id, at_s, handle_json) VALUES (?, ?, ?)"
        self._db.execute(sql, (run_id, at_s, rows.handle_to_json(handle)))

    def _insert_estimate(self, run_id: str, planned: PlanJson, taken: Offer | None) -> None:
        row = estimate_row(planned, taken)
        if row is not None:
            insert(self._db, "estimates", (None, run_id, *row))

    def _insert_attempts(self, run_id: str, messages: Sequence[str], at_s: float) -> None:
        sql = "INSERT INTO failed_attempts (run_id, at_s, message) VALUES (?, ?, ?)"
        self._db.executemany(sql, [(run_id, at_s, message) for message in messages])

    def _insert_client(self, run_id: str, client: Client) -> None:
        sql = "INSERT INTO clients (run_id, at_s, host, pid, created_at_s, machine) VALUES (?, ?, ?, ?, ?, ?)"
        machine = client.machine if is_shared(self._db) else None
        self._db.execute(sql, (run_id, client.at_s, client.host, client.pid, client.created_at_s, machine))


def _line(event: Event) -> str:
    try:
        return event.to_line()
    except ValueError as error:
        raise StateError(
            f"event {event.seq} holds a number that JSON has not ({error})", hint="This is a defect of the task."
        ) from error
