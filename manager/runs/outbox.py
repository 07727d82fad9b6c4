"""What supervision could not write to a ledger that is away: kept in the run's folder, a line of JSON each, until it is
written. Each entry may be written twice and counts once, for whether the last attempt came through is not always known.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
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
CHUNK_BYTES = 1 << 16
"""Looked at for a line end at once."""
Entry = dict[str, Any]


class Outbox:
    """The file of one run; whoever supervises the run owns it."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / OUTBOX_FILE

    def read(self) -> list[Entry]:
        """All entries, oldest first; a last line that is not whole was never believed to be kept.

        Raises:
            StateError: it cannot be read, or a line within it is damaged. Then all of it is set aside, and what stands
                before that line is left to be read: entries build on each other, so that those behind it cannot count.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {error.strerror}", hint="make it readable") from error
        entries: list[Entry] = []
        whole_bytes = 0
        *lines, _ = content.split(b"\n")
        for line in lines:
            try:
                entries.append(_parse(line))
            except ValueError as error:
                raise self._damaged(content, whole_bytes, len(entries)) from error
            whole_bytes += len(line) + 1
        return entries

    def append(self, entry: Entry) -> None:
        """Keep one, so that it outlives this process and a loss of power.

        Raises:
            StateError: the disk does not take all of it; the file is as it was before.
        """
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _append_whole(descriptor, line.encode())
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
        return self.path.rename(self._beside("refused"))

    def _beside(self, why: str) -> Path:
        return self.path.with_suffix(f".{why}-{os.urandom(4).hex()}.jsonl")

    def _damaged(self, content: bytes, whole_bytes: int, whole_entries: int) -> StateError:
        """Keep all of a damaged file beside it, and in it the entries before the damage."""
        message = f"{self.path} is damaged in line {whole_entries + 1}"
        try:
            aside = self._beside("damaged")
            descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _append_whole(descriptor, content)
            finally:
                os.close(descriptor)
            os.truncate(self.path, whole_bytes)
        except OSError as error:
            hint = "Free some disk space and run `tunefare reconcile` again: the entries before that line are whole."
            return StateError(f"{message} and cannot be set aside: {error.strerror}", hint=hint)
        hint = (
            f"All of it is kept in {aside}; run `tunefare reconcile` again, which writes the entries before that line."
        )
        return StateError(message, hint=hint)


def _parse(line: bytes) -> Entry:
    """Raises ValueError where the line is no entry."""
    entry = json.loads(line)
    if not isinstance(entry, dict) or "kind" not in entry:
        raise ValueError("no entry")
    return entry


def _append_whole(descriptor: int, content: bytes) -> None:
    """Write all or nothing behind the last line that is whole: one that a crash has torn would spoil what follows it.

    Raises:
        OSError: the disk does not take all of it.
    """
    whole_bytes = _whole_bytes(descriptor)
    os.ftruncate(descriptor, whole_bytes)
    try:
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
        os.fsync(descriptor)
    except OSError:
        # Where that fails too, the next call cuts it.
        with suppress(OSError):
            os.ftruncate(descriptor, whole_bytes)
        raise


def _whole_bytes(descriptor: int) -> int:
    """Size of the file up to its last line end."""
    at = os.fstat(descriptor).st_size
    while at > 0:
        begin = max(0, at - CHUNK_BYTES)
        found = os.pread(descriptor, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0


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
