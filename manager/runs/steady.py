"""A ledger for supervising one run: while the server that holds it is away, the run goes on and nothing is lost.

Supervision is the only writer of its run, so that it knows what the ledger would say: state, events and bill are told
from memory. What cannot be written is kept in the run's folder (`manager.runs.outbox`), and a thread writes it as soon
as the server is back. A file is never away: whoever keeps the ledger in one has no use for this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from manager.errors import StateError
from manager.launch.engine import Evidence, Handle, Launched
from manager.runs.clients import is_here
from manager.runs.database import LedgerAwayError
from manager.runs.ledger import Ledger
from manager.runs.outbox import (
    Entry,
    Outbox,
    attempts_entry,
    charge_entry,
    events_entry,
    evidence_entry,
    handle_entry,
    launched_entry,
    release_entry,
    requote_entry,
    state_entry,
    write_entry,
)
from manager.runs.records import Charge, RunRecord, StateChange, StopRequest
from manager.runs.requote_rows import RequoteRow
from manager.runs.rules import check_touches, check_transition, sort_events
from manager.runs.states import FINAL, RunState
from tasks.protocol import Event

RETRY_S = 5.0
"""Between two attempts to reach the server."""
SETTLE_S = 60.0
"""For the server to come back when the run has ended."""


def steady(ledger: Ledger, run_id: str, run_dir: Path, note: Callable[[str], None]) -> Ledger:
    """The ledger for supervising a run, which this process has created or claimed.

    What an earlier supervision left unwritten on this machine is written first.

    Args:
        ledger: an open one.
        run_id: of the run.
        run_dir: its folder on this machine.
        note: told, in the supervision's own voice, when the server goes away and when it is back.

    Raises:
        StateError: the ledger is away, or refuses what was left.
    """
    return SteadyLedger(ledger, run_id, run_dir, note) if ledger.is_shared else ledger


class SteadyLedger(Ledger):
    """See `steady`. Its methods are called from one thread."""

    def __init__(self, ledger: Ledger, run_id: str, run_dir: Path, note: Callable[[str], None]) -> None:
        super().__init__(ledger.store)
        self._plain = ledger
        self._run_id = run_id
        self._note = note
        self._outbox = Outbox(run_dir)
        self._lock = threading.Lock()
        self._kept = self._outbox.read()
        self._away: LedgerAwayError | None = None
        self._refused: StateError | None = None
        """Kept to the end: whoever swallows it in between, `settle` raises it."""
        self._is_refusal_told = False
        self._is_noted = False
        if self._kept:
            _write_all(ledger, run_id, self._kept, self._outbox)
            self._kept = []
        self._known = ledger.run(run_id)
        self._known_events = list(ledger.events(run_id))

    def run(self, run_id: str) -> RunRecord:
        """The run as it stands for its supervision."""
        return (
            replace(self._known, last_seq=len(self._known_events) - 1)
            if run_id == self._run_id
            else super().run(run_id)
        )

    def state(self, run_id: str) -> RunState:
        """Where the run stands."""
        return self._known.state if run_id == self._run_id else super().state(run_id)

    def events(self, run_id: str, after_seq: int = -1) -> tuple[Event, ...]:
        """Events with seq > after_seq, oldest first."""
        return (
            tuple(self._known_events[after_seq + 1 :]) if run_id == self._run_id else super().events(run_id, after_seq)
        )

    def stop_request(self, run_id: str) -> StopRequest | None:
        """Why the run shall end; None too while nobody can be asked."""
        self._tell()
        if self._away is None:
            try:
                return super().stop_request(run_id)
            except LedgerAwayError as error:
                self._go_away(error, None)
        return None

    def transition(self, run_id: str, state: RunState, at_s: float, detail: str | None = None) -> None:
        """Enter a state."""
        check_transition(run_id, self._known.state, state)
        self._put(state_entry(state, at_s, detail))
        change = StateChange(state=state, at_s=at_s, detail=detail)
        over = state in FINAL and bool(self._known.charges)
        self._known = replace(
            self._known,
            state=state,
            history=(*self._known.history, change),
            billing_ended_at_s=self._known.charges[-1].to_s if over else None,
        )

    def store_handle(self, run_id: str, handle: Handle, at_s: float) -> None:
        """Where the run is."""
        self._put(handle_entry(handle, at_s))
        self._known = replace(self._known, handle=handle)

    def store_launched(self, run_id: str, launched: Launched, at_s: float) -> None:
        """The launch succeeded."""
        self._put(launched_entry(launched, at_s))
        self._known = replace(
            self._known,
            handle=launched.handle,
            offer=launched.offer,
            billing_started_at_s=launched.billing_started_at_s,
            failed_attempts=(*self._known.failed_attempts, *launched.failed_attempts),
        )

    def add_failed_attempts(self, run_id: str, messages: Sequence[str], at_s: float) -> None:
        """Offers without capacity."""
        self._put(attempts_entry(list(messages), at_s))
        self._known = replace(self._known, failed_attempts=(*self._known.failed_attempts, *messages))

    def append_events(self, run_id: str, events: Iterable[Event]) -> tuple[Event, ...]:
        """Store events in order and return those that were new."""
        found = sort_events(run_id, len(self._known_events) - 1, events, lambda seq: self._known_events[seq])
        if found.new:
            self._put(events_entry(found.new))
            self._known_events.extend(found.new)
        found.raise_missing(run_id)
        return found.new

    def add_charge(self, run_id: str, charge: Charge) -> None:
        """A billed stretch."""
        before = self._known.charges
        check_touches(run_id, before[-1].to_s if before else self._known.billing_started_at_s, charge)
        self._put(charge_entry(charge))
        self._known = replace(self._known, charges=(*before, charge))

    def add_evidence(self, run_id: str, evidence: Evidence) -> None:
        """What the provider answered."""
        self._put(evidence_entry(evidence))
        self._known = replace(self._known, evidence=(*self._known.evidence, evidence))

    def beat(self, run_id: str, at_s: float) -> None:
        """A sign of life; none, and none kept, while the server is away."""
        self._tell()
        if self._away is None:
            try:
                self._plain.beat(run_id, at_s)
            except LedgerAwayError as error:
                self._go_away(error, None)

    def release(self, run_id: str, at_s: float) -> None:
        """Nobody supervises the run from now on."""
        self._put(release_entry(at_s))

    def add_requote(self, run_id: str, row: RequoteRow) -> None:
        """What became of the renewed quote."""
        self._put(requote_entry(row))

    def settle(self) -> None:
        """Wait until all is written, and not for ever.

        Raises:
            StateError: the server is still away, or refused something.
        """
        deadline = time.monotonic() + SETTLE_S
        while self._away is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._refused is not None:
            raise self._refused
        if self._away is not None:
            raise StateError(
                f"run {self._run_id} has ended ({self._known.state}), and the ledger does not know it: "
                f"{self._away.message}",
                hint=f"It is kept in {self._outbox.path}; `tunefare reconcile {self._run_id}` here writes it.",
            ) from self._away

    def _put(self, entry: Entry) -> None:
        self._tell()
        self._raise_refused()
        with self._lock:
            if self._away is not None:
                self._keep(entry)
                return
        try:
            write_entry(self._plain, self._run_id, entry, again=False)
        except LedgerAwayError as error:
            self._go_away(error, entry)

    def _keep(self, entry: Entry) -> None:
        self._kept.append(entry)
        self._outbox.append(entry)

    def _go_away(self, error: LedgerAwayError, entry: Entry | None) -> None:
        with self._lock:
            self._away = error
            if entry is not None:
                self._keep(entry)
        threading.Thread(target=self._come_back, name="ledger-outbox", daemon=True).start()
        self._tell()

    def _tell(self) -> None:
        """In the thread of the supervision: who listens is not made for two."""
        away = self._away
        if (away is not None) is self._is_noted:
            return
        self._is_noted = away is not None
        if away is None:
            self._note("the ledger is back, and everything is written")
        else:
            self._note(f"{away.message}; the run goes on, what is new is kept in {self._outbox.path}")

    def _come_back(self) -> None:
        while True:
            time.sleep(RETRY_S)
            try:
                with self._plain.reopen() as ledger:
                    if self._write_kept(ledger):
                        return
            except LedgerAwayError:
                continue
            except StateError as error:
                with self._lock:
                    self._refused = self._refused or error
                    self._kept = []
                    self._away = None
                return

    def _write_kept(self, ledger: Ledger) -> bool:
        with self._lock:
            entries = list(self._kept)
        _check_ours(ledger, self._run_id)
        _write_each(ledger, self._run_id, entries, self._outbox)
        with self._lock:
            # What came in the meantime is written by the next round; the file goes when nothing is left.
            del self._kept[: len(entries)]
            if self._kept:
                return False
            self._outbox.clear()
            self._away = None
            return True

    def _raise_refused(self) -> None:
        """Once: what comes after it, the state and the proof of a machine that is gone, is written all the same."""
        if self._refused is not None and not self._is_refusal_told:
            self._is_refusal_told = True
            raise self._refused


def _write_all(ledger: Ledger, run_id: str, entries: list[Entry], outbox: Outbox) -> None:
    _write_each(ledger, run_id, entries, outbox)
    outbox.clear()


def _write_each(ledger: Ledger, run_id: str, entries: list[Entry], outbox: Outbox) -> None:
    try:
        for entry in entries:
            write_entry(ledger, run_id, entry, again=True)
    except LedgerAwayError:
        raise
    except StateError as error:
        aside: Path | str = outbox.path
        with suppress(OSError):
            aside = outbox.set_aside()
        raise StateError(
            f"the ledger went on without this machine and refuses what was kept: {error.message}",
            hint=f"It stays in {aside}; look with `tunefare show {run_id}`.",
        ) from error


def _check_ours(ledger: Ledger, run_id: str) -> None:
    client = ledger.client(run_id)
    if client is not None and not is_here(client):
        raise StateError(
            f"{client.host} took run {run_id} over while the ledger was away from here",
            hint=f"look with `tunefare show {run_id}`",
        )
