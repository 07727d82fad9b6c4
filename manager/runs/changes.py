"""What the ledger has of a run beyond what a reader knows already: for whoever follows it, without reading it anew."""

from __future__ import annotations

from dataclasses import dataclass

from manager.launch.engine import Evidence
from manager.prices.offer import Offer
from manager.runs import rows
from manager.runs.clients import Client
from manager.runs.database import Database
from manager.runs.records import Charge, StateChange
from manager.runs.requote_rows import REQUOTE_COLUMNS, RequoteRow, requote_from_row
from manager.runs.rows import CLIENT_COLUMNS
from tasks.protocol import Event, parse_event


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The last row of each kind that a reader knows; without any, it knows nothing."""

    state: int = 0
    charge: int = 0
    evidence: int = 0
    attempt: int = 0
    requote: int = 0
    seq: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Rows beyond the marks, oldest first, as of one moment; and what a run has one of."""

    marks: Marks
    """To ask with the next time."""
    states: tuple[StateChange, ...]
    charges: tuple[Charge, ...]
    evidence: tuple[Evidence, ...]
    failed_attempts: tuple[str, ...]
    requotes: tuple[RequoteRow, ...]
    events: tuple[Event, ...]
    has_more_events: bool
    """Whether there were more than the limit; ask again."""
    offer: Offer | None
    """The offer taken; None before the launch succeeded."""
    billing_started_at_s: float | None
    client: Client | None
    """Who supervises the run, or did last."""
    stop_request: str | None
    """Why the run shall end; None: nobody asked."""


def read_changes(db: Database, run_id: str, marks: Marks, *, most_events: int) -> Changes:
    """Rows beyond the marks, in the transaction that the caller holds; at most so many events."""
    states, state = _beyond(db, "state_changes", "state, at_s, detail", run_id, marks.state)
    charges, charge = _beyond(
        db, "charges", "at_s, from_s, to_s, price_usd_per_hour, amount_usd, what", run_id, marks.charge
    )
    evidence, answer = _beyond(
        db, "evidence", "asked_at_s, confirmed, source, answer, left_json", run_id, marks.evidence
    )
    attempts, attempt = _beyond(db, "failed_attempts", "message", run_id, marks.attempt)
    requotes, requote = _beyond(db, "requotes", REQUOTE_COLUMNS, run_id, marks.requote)
    lines = db.execute(
        "SELECT line FROM events WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?", (run_id, marks.seq, most_events)
    )
    events = tuple(parse_event(row[0]) for row in lines.fetchall())
    launch = db.execute("SELECT offer_json, billing_started_at_s FROM launches WHERE run_id = ?", (run_id,)).fetchone()
    client = db.execute(
        f"SELECT {CLIENT_COLUMNS} FROM clients WHERE run_id = ? ORDER BY id DESC LIMIT 1", (run_id,)
    ).fetchone()
    stop = db.execute("SELECT detail FROM stop_requests WHERE run_id = ? ORDER BY id LIMIT 1", (run_id,)).fetchone()
    return Changes(
        marks=Marks(
            state=state,
            charge=charge,
            evidence=answer,
            attempt=attempt,
            requote=requote,
            seq=events[-1].seq if events else marks.seq,
        ),
        states=tuple(rows.state_change_from_row(row) for row in states),
        charges=tuple(rows.charge_from_row(row) for row in charges),
        evidence=tuple(rows.evidence_from_row(row) for row in evidence),
        failed_attempts=tuple(str(row[0]) for row in attempts),
        requotes=tuple(requote_from_row(row) for row in requotes),
        events=events,
        has_more_events=len(events) == most_events,
        offer=None if launch is None else rows.offer_from_json(launch[0]),
        billing_started_at_s=None if launch is None else launch[1],
        client=None if client is None else rows.client_from_row(client),
        stop_request=None if stop is None else str(stop[0]),
    )


def _beyond(db: Database, table: str, columns: str, run_id: str, mark: int) -> tuple[list[rows.Row], int]:
    """Rows of one table with a larger id, and the largest id known after them."""
    found = db.execute(
        f"SELECT {columns}, id FROM {table} WHERE run_id = ? AND id > ? ORDER BY id", (run_id, mark)
    ).fetchall()
    return [row[:-1] for row in found], int(found[-1][-1]) if found else mark
