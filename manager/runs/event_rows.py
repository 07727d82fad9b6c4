"""Rows of events, and the milestones that lists read instead of them.

A file tells its milestones itself, by a trigger, for clients of older versions write to it too. To a server they are
told from here: the text of an event may hold what its JSON functions refuse.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from manager.runs.database import Database, is_shared
from manager.runs.milestones import MILESTONES, milestone_of
from manager.runs.rows import Row
from tasks.protocol import Event


def store_events(db: Database, run_id: str, events: Sequence[tuple[Event, str]]) -> None:
    """New events with their lines, oldest first; in the transaction that the caller holds."""
    if not events:
        return
    db.executemany("INSERT INTO events VALUES (?, ?, ?)", [(run_id, event.seq, line) for event, line in events])
    if is_shared(db):
        milestones = [_milestone_row(run_id, event) for event, _ in events if event.type in MILESTONES]
        if milestones:
            db.executemany("INSERT INTO milestones VALUES (?, ?, ?, ?, ?, ?)", milestones)


def _milestone_row(run_id: str, event: Event) -> Row:
    told = milestone_of(event)
    values = event.data.get("metrics", event.data.get("best"))
    text = None if values is None else json.dumps(values)
    return (run_id, told.seq, str(told.type), told.stage, told.step, text)
