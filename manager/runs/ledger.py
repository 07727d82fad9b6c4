"""The ledger: what was asked for, where it runs, what it costs, and the proof that it is gone. Rows are only added.

Owns the rules that hold between rows (transitions, gapless events, touching charges) and checks them in the
transaction that writes, so that two processes cannot break them together. One connection serves one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Self

from manager.errors import StateError
from manager.launch.engine import Evidence, Handle, Launched
from manager.planner.codec import plan_to_text
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.runs import rows
from manager.runs.bills import bill_of
from manager.runs.budget_rows import check_room, insert_budget
from manager.runs.budgets import BudgetScope, commitment_usd
from manager.runs.clients import Client, nobody
from manager.runs.facts import PlanJson, estimate_row, fact_row, read_plan
from manager.runs.ledger_file import explained, open_connection, transaction
from manager.runs.ledger_reader import LedgerReader
from manager.runs.migrations import insert
from manager.runs.records import Charge
from manager.runs.states import TRANSITIONS, RunState
from tasks.protocol import Event, parse_event

BUSY_TIMEOUT_S = 15.0


class MissingEventsError(StateError):
    """Events are missing; what came before them is stored."""

    def __init__(self, run_id: str, *, from_seq: int, to_seq: int, stored: tuple[Event, ...]) -> None:
        super().__init__(
            f"events {from_seq} to {to_seq} of run {run_id} are missing",
            hint=f"The events file in the run's folder is the truth; run `tunefare reconcile {run_id}`.",
        )
        self.stored = stored
        """Events of the same call that were new and are stored."""


class Ledger(LedgerReader):
    """An open ledger; use it as a context manager. Every method raises StateError when the file cannot be used."""

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """Open the ledger, create it (mode 0600) or migrate it; a file that cannot be used is left as it is."""
        return cls(path, open_connection(path, busy_timeout_s=busy_timeout_s))

    def reopen(self) -> Ledger:
        """A connection of its own to the same ledger, for another thread."""
        return Ledger.open(self._path)

    def create_run(
        self,
        run_id: str,
        plan: Plan,
        run_dir: Path,
        engine: str,
        cap_usd: Decimal | None,
        at_s: float,
        client: Client | None = None,
    ) -> None:
        """A new run in state PLANNED, supervised by `client`.

        Raises:
            StateError: a run of this name exists.
            OverBudgetError: the user's budgets do not hold its cap; another process may have taken what was left.
        """
        plan_json = plan_to_text(plan)
        planned = read_plan(plan_json)
        choice = plan.choice
        high_usd = None if choice is None or choice.cost_usd is None else choice.cost_usd.high
        with self._write() as db:
            if db.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone():
                raise StateError(f"the ledger already has a run {run_id}", hint="Start it again under a new name.")
            check_room(db, plan.spec.project, commitment_usd(engine, cap_usd, high_usd), at_s)
            db.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)",
                (run_id, at_s, plan_json, str(run_dir), engine, rows.money_to_text(cap_usd)),
            )
            facts = (run_id, at_s, engine, rows.money_to_text(cap_usd), *fact_row(planned))
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
            present = self._state(run_id)
            if state not in TRANSITIONS[present]:
                raise StateError(
                    f"run {run_id} is {present} and cannot become {state}",
                    hint=f"Another process may have ended it; look with `tunefare show {run_id}`.",
                )
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
        new: list[Event] = []
        missing: tuple[int, int] | None = None
        with self._write() as db:
            last = self._last_seq(run_id)
            for event in events:
                if event.seq <= last:
                    self._check_same(run_id, event)
                    continue
                if event.seq != last + 1:
                    missing = last + 1, event.seq - 1
                    break
                db.execute("INSERT INTO events VALUES (?, ?, ?)", (run_id, event.seq, _line(event)))
                last = event.seq
                new.append(event)
        if missing is not None:
            raise MissingEventsError(run_id, from_seq=missing[0], to_seq=missing[1], stored=tuple(new))
        return tuple(new)

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
            if row[0] is not None and row[0] != charge.from_s:
                raise StateError(
                    f"a charge of run {run_id} starts at {charge.from_s}, the bill stands at {row[0]}",
                    hint=f"Two processes supervise the same run; look with `tunefare show {run_id}`.",
                )
            charge_id = db.execute(
                "INSERT INTO charges (run_id, at_s, from_s, to_s, price_usd_per_hour, amount_usd, what)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run_id, *rows.charge_to_row(charge)),
            ).lastrowid
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

    def release(self, run_id: str, at_s: float) -> None:
        """Nobody supervises the run from now on."""
        with self._write():
            self._insert_client(run_id, nobody(at_s))

    def set_budget(self, scope: BudgetScope, name: str, usd: Decimal | None, at_s: float) -> None:
        """Bound a month or a project from now on; None: not any more."""
        with self._write() as db:
            insert_budget(db, scope, name, usd, at_s)

    def request_stop(self, run_id: str, at_s: float, detail: str, *, now: bool = False) -> None:
        """Ask whoever supervises the run to end it; `now`: without waiting for a checkpoint."""
        with self._write() as db:
            sql = "INSERT INTO stop_requests (run_id, at_s, detail, now) VALUES (?, ?, ?, ?)"
            db.execute(sql, (run_id, at_s, detail, int(now)))

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with explained(self._path), transaction(self._db):
            yield self._db

    def _check_same(self, run_id: str, event: Event) -> None:
        sql = "SELECT line FROM events WHERE run_id = ? AND seq = ?"
        stored = self._db.execute(sql, (run_id, event.seq)).fetchone()
        if stored is None or parse_event(stored[0]) != event:
            raise StateError(
                f"event {event.seq} of run {run_id} differs from the one that is stored",
                hint="Two tasks wrote to the same run's folder; look at its events file.",
            )

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
        sql = "INSERT INTO clients (run_id, at_s, host, pid, created_at_s) VALUES (?, ?, ?, ?, ?)"
        self._db.execute(sql, (run_id, client.at_s, client.host, client.pid, client.created_at_s))


def _line(event: Event) -> str:
    try:
        return event.to_line()
    except ValueError as error:
        raise StateError(
            f"event {event.seq} holds a number that JSON has not ({error})", hint="This is a defect of the task."
        ) from error
