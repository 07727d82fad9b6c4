"""What supervision could not write to a ledger that is away: kept in the run's folder, a line of JSON each, until it is
written. Each entry may be written twice and counts once, for whether the last attempt came through is not always known.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manager.errors import StateError
from manager.launch.engine import Evidence, Handle, Launched
from manager.runs import rows
from manager.runs.ledger import Ledger
from manager.runs.records import Charge, RunRecord
from manager.runs.requote_rows import RequoteRow, requote_from_row, requote_to_row
from manager.runs.states import RunState
from tasks.protocol import Event, parse_event

OUTBOX_FILE = "ledger-outbox.jsonl"
Entry = dict[str, Any]


class Outbox:
    """The file of one run; whoever supervises the run owns it."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / OUTBOX_FILE

    def read(self) -> list[Entry]:
        """All entries, oldest first; a last line that is not whole was never believed to be kept."""
        try:
            *lines, _ = self.path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {error.strerror}", hint="make it readable") from error
        return [json.loads(line) for line in lines]

    def append(self, entry: Entry) -> None:
        """Keep one, so that it outlives this process and a loss of power.

        Raises:
            StateError: the disk takes nothing.
        """
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StateError(
                f"the ledger is away and {self.path} cannot be written: {error.strerror}", hint="free some disk space"
            ) from error

    def clear(self) -> None:
        """All is written."""
        self.path.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Keep what the ledger refuses, where nobody tries again."""
        return self.path.rename(self.path.with_suffix(f".refused-{os.urandom(4).hex()}.jsonl"))


def state_entry(state: RunState, at_s: float, detail: str | None) -> Entry:
    """A transition."""
    return {"kind": "state", "state": str(state), "at_s": at_s, "detail": detail}


def handle_entry(handle: Handle, at_s: float) -> Entry:
    """Where the run is."""
    return {"kind": "handle", "handle": rows.handle_to_json(handle), "at_s": at_s}


def launched_entry(launched: Launched, at_s: float) -> Entry:
    """A launch that succeeded."""
    return {
        "kind": "launched",
        "handle": rows.handle_to_json(launched.handle),
        "offer": rows.offer_to_json(launched.offer),
        "billing_started_at_s": launched.billing_started_at_s,
        "failed_attempts": list(launched.failed_attempts),
        "at_s": at_s,
    }


def attempts_entry(messages: list[str], at_s: float) -> Entry:
    """Offers without capacity."""
    return {"kind": "attempts", "messages": messages, "at_s": at_s}


def events_entry(events: tuple[Event, ...]) -> Entry:
    """Events that are new."""
    return {"kind": "events", "lines": [event.to_line() for event in events]}


def charge_entry(charge: Charge) -> Entry:
    """A billed stretch."""
    return {"kind": "charge", "row": list(rows.charge_to_row(charge))}


def evidence_entry(evidence: Evidence) -> Entry:
    """An answer of the provider."""
    return {"kind": "evidence", **asdict(evidence)}


def release_entry(at_s: float) -> Entry:
    """The end of a supervision."""
    return {"kind": "release", "at_s": at_s}


def requote_entry(row: RequoteRow) -> Entry:
    """What became of the renewed quote."""
    return {"kind": "requote", "row": list(requote_to_row(row))}


def write_entry(ledger: Ledger, run_id: str, entry: Entry, *, again: bool) -> None:
    """Write an entry.

    Args:
        ledger: where to.
        run_id: of the run.
        entry: what to write.
        again: it may be there already; then nothing is written.

    Raises:
        StateError: the ledger is away, or does not take it.
    """
    if again and _is_written(ledger.run(run_id), entry):
        return
    match entry["kind"]:
        case "state":
            ledger.transition(run_id, RunState(entry["state"]), entry["at_s"], entry["detail"])
        case "handle":
            ledger.store_handle(run_id, rows.handle_from_json(entry["handle"]), entry["at_s"])
        case "launched":
            ledger.store_launched(run_id, _launched(entry), entry["at_s"])
        case "attempts":
            ledger.add_failed_attempts(run_id, entry["messages"], entry["at_s"])
        case "events":
            ledger.append_events(run_id, [parse_event(line) for line in entry["lines"]])
        case "charge":
            ledger.add_charge(run_id, rows.charge_from_row(tuple(entry["row"])))
        case "evidence":
            ledger.add_evidence(run_id, _evidence(entry))
        case "release":
            ledger.release(run_id, entry["at_s"])
        case "requote":
            row = requote_from_row(tuple(entry["row"]))
            if not (again and row in ledger.requotes(run_id)):
                ledger.add_requote(run_id, row)
        case kind:
            raise StateError(f"{OUTBOX_FILE} of {run_id} has an entry {kind!r}", hint="A newer tunefare wrote it.")


def _launched(entry: Entry) -> Launched:
    return Launched(
        handle=rows.handle_from_json(entry["handle"]),
        offer=rows.offer_from_json(entry["offer"]),
        billing_started_at_s=entry["billing_started_at_s"],
        failed_attempts=tuple(entry["failed_attempts"]),
    )


def _evidence(entry: Entry) -> Evidence:
    values = {name: value for name, value in entry.items() if name != "kind"}
    return Evidence(**{**values, "left": tuple(values["left"])})


def _is_written(record: RunRecord, entry: Entry) -> bool:
    """By the times that the entry carries; events tell themselves apart, and a handle may stand twice."""
    match entry["kind"]:
        case "state":
            wanted = (entry["state"], entry["at_s"])
            return any((change.state, change.at_s) == wanted for change in record.history)
        case "launched":
            return record.billing_started_at_s is not None
        case "attempts":
            return set(entry["messages"]) <= set(record.failed_attempts)
        case "charge":
            return rows.charge_from_row(tuple(entry["row"])) in record.charges
        case "evidence":
            return _evidence(entry) in record.evidence
        case _:
            return False
