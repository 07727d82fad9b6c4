"""Look at runs: list, one, its log, its events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from manager.errors import StateError, UsageError
from manager.launch.engine import LOG_FILE
from manager.runs.ledger import BUSY_TIMEOUT_S, Ledger
from manager.runs.ledger_reader import LedgerReader
from manager.runs.records import RunEvents, RunRecord
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.service.context import Context
from manager.service.log_reading import LogFile

RUN_JSON_VERSION = 1
_POLL_S = 0.5
_READING_PATIENCE_S = 5.0


def open_ledger(context: Context, *, patience_s: float = BUSY_TIMEOUT_S) -> Ledger:
    """The ledger of this user, or the one that is shared; it is created when there is none.

    Args:
        context: surroundings.
        patience_s: how long to wait for a lock that another process holds, in seconds.

    Raises:
        StateError: it cannot be read, written or created.
    """
    context.home.ensure()
    if context.ledger_url is not None:
        return Ledger.connect(context.ledger_url, runs_dir=context.home.runs_dir, patience_s=patience_s)
    return Ledger.open(context.home.ledger_file, busy_timeout_s=patience_s)


@contextmanager
def reading(context: Context) -> Iterator[LedgerReader | None]:
    """The ledger for reading, which waits for no writer; None: there is none yet.

    Raises:
        StateError: it cannot be read.
    """
    file = context.home.ledger_file
    if context.ledger_url is not None:
        with open_ledger(context, patience_s=_READING_PATIENCE_S) as shared:
            yield shared
        return
    if not file.exists():
        yield None
        return
    try:
        reader = LedgerReader.open_for_reading(file, busy_timeout_s=_READING_PATIENCE_S)
    except StateError:
        # Of an older version, it is brought up to date; whatever else is wrong with it is said by this.
        reader = open_ledger(context)
    with reader:
        yield reader


def find_run(context: Context, prefix: str) -> RunRecord:
    """One run by its id or the unique beginning of it.

    Raises:
        UsageError: none, or several.
        StateError: the ledger cannot be read.
    """
    with reading(context) as ledger:
        if ledger is None:
            raise UsageError(f"no run is called {prefix!r}", hint="Launch one with `tunefare run`.")
        return ledger.run(prefix)


def find_events(context: Context, prefix: str) -> RunEvents:
    """A run with its events."""
    with open_ledger(context) as ledger:
        return ledger.run_events(prefix)


def run_json(context: Context, record: RunRecord) -> dict[str, Any]:
    """A run in its published form, schema 1; times in Unix seconds, money in dollars, null where unknown."""
    with open_ledger(context) as ledger:
        counts = Counter(str(event.type) for event in ledger.events(record.run_id))
    offer = record.offer
    return {
        "schema": RUN_JSON_VERSION,
        "run_id": record.run_id,
        "state": str(record.state),
        "may_bill": record.state in MAY_BILL,
        "engine": record.engine,
        "user": record.user,
        "plan_id": record.plan.plan_id,
        "run_dir": str(record.run_dir),
        "created_at_s": record.created_at_s,
        "billing_started_at_s": record.billing_started_at_s,
        "billing_ended_at_s": record.billing_ended_at_s,
        "cap_usd": _number(record.cap_usd),
        "cost_usd": _number(record.cost_usd),
        "offer": None
        if offer is None
        else {
            "cloud": offer.cloud,
            "region": offer.region,
            "instance_type": offer.instance_type,
            "accelerator": offer.accelerator,
            "accelerator_count": offer.accelerator_count,
            "num_nodes": offer.num_nodes,
            "use_spot": offer.use_spot,
            "price_usd_per_hour": _number(offer.price_usd_per_hour),
        },
        "history": [{**asdict(change), "state": str(change.state)} for change in record.history],
        "charges": [
            {
                **asdict(charge),
                "price_usd_per_hour": _number(charge.price_usd_per_hour),
                "amount_usd": _number(charge.amount_usd),
            }
            for charge in record.charges
        ],
        "evidence": [{**asdict(evidence), "left": list(evidence.left)} for evidence in record.evidence],
        "failed_attempts": list(record.failed_attempts),
        "last_seq": record.last_seq,
        "event_counts": dict(counts),
    }


def log_lines(context: Context, prefix: str, *, follow: bool) -> Iterator[str]:
    """What the training program and the machine printed, without the event lines; with follow until it ends."""
    record = find_run(context, prefix)
    log = LogFile(record.run_dir / LOG_FILE)
    while True:
        # The state is asked first: what was written before the run ended is then read in the last round.
        ended = not follow or _has_ended(context, record.run_id)
        yield from log.read(to_end=ended)
        if ended:
            return
        time.sleep(_POLL_S)


def has_client(ledger: Ledger, run_id: str, now_s: float) -> bool:
    """Whether the process that looks after the run still lives."""
    return ledger.client_lives(run_id, now_s)


def _has_ended(context: Context, run_id: str) -> bool:
    """Whether nothing more will be logged: the run is over, or nobody looks after it."""
    with open_ledger(context) as ledger:
        state = ledger.state(run_id)
        return state in FINAL or state is RunState.UNCONFIRMED or not has_client(ledger, run_id, context.clock())


def event_lines(context: Context, prefix: str) -> Iterator[str]:
    """The events of a run as they stand in the ledger, one JSON object a line (see `tasks.protocol`)."""
    for event in find_events(context, prefix).events:
        yield event.to_line()


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
