"""Fetch: bring home what a run has in its bucket, also long after its machine is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manager.errors import UsageError
from manager.launch.from_store import Brought, bring_from_store
from manager.runs.events_file import read_events
from manager.runs.states import FINAL
from manager.service.context import Context
from manager.service.inspection import find_run, open_ledger
from tasks.protocol import EVENTS_FILE
from tasks.redaction import own_redactor
from tasks.stores.store import OnProgress

FETCH_JSON_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What is at home now."""

    run_id: str
    run_dir: Path
    brought: Brought
    events_in_ledger: int
    """Events that were new to the ledger."""


def fetch_run(context: Context, run: str, *, on_progress: OnProgress | None = None) -> Fetched:
    """Complete a run's folder and its events from its bucket; what is here already is not moved again.

    Args:
        context: surroundings.
        run: id or its unique beginning.
        on_progress: bytes of the file at hand; told from several threads.

    Raises:
        UsageError: no such run, or it has no bucket.
        EngineError: the bucket cannot be read, or what it has is damaged; what came is kept.
        StateError: the ledger cannot be used.
    """
    record = find_run(context, run)
    brought = bring_from_store(record.run_dir, on_progress=on_progress)
    if brought is None:
        raise UsageError(
            f"{record.run_id} is kept in no bucket",
            hint="name one for later runs: storage.bucket in the run file, or `tunefare config set bucket s3://...`",
        )
    new = 0
    # While a process supervises the run, the ledger hears events from that one.
    if record.state in FINAL:
        events = read_events(record.run_dir / EVENTS_FILE, after_seq=record.last_seq)
        redactor = own_redactor()
        with open_ledger(context) as ledger:
            clean = (replace(event, data=redactor.data(event.data)) for event in events)
            new = len(ledger.append_events(record.run_id, clean))
    return Fetched(run_id=record.run_id, run_dir=record.run_dir, brought=brought, events_in_ledger=new)


def fetched_to_json(fetched: Fetched) -> dict[str, Any]:
    """The answer as data."""
    brought = fetched.brought
    return {
        "schema": FETCH_JSON_VERSION,
        "run_id": fetched.run_id,
        "folder": str(fetched.run_dir),
        "store": brought.uri,
        "events": brought.events,
        "events_in_ledger": fetched.events_in_ledger,
        "model": brought.model,
        "checkpoint": brought.checkpoint,
    }
