"""The end of a run that is down already, written into a ledger that could not be written for a while.

Nothing is billed any more, so that waiting for a full disk or a lock costs nothing; a process that gave up at once
would leave a bill of which nobody knows the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from manager.errors import StateError
from manager.launch.engine import Evidence
from manager.runs.interrupts import Interrupts
from manager.runs.ledger import MissingEventsError
from manager.runs.session import Session

RETRY_S = 1.0


def settle(session: Session, writes: Sequence[Callable[[], object]], interrupts: Interrupts) -> bool:
    """Make all the writes, each as often as it takes; whether all are made.

    Args:
        session: says how long to try.
        writes: each can be made twice without harm.
        interrupts: a signal that comes meanwhile ends the attempts.
    """
    deadline = time.monotonic() + session.settings.store_patience_s
    signals_before = interrupts.count
    while True:
        try:
            for write in writes:
                write()
            return True
        except MissingEventsError:
            return False
        except StateError:
            if time.monotonic() >= deadline or interrupts.count > signals_before:
                return False
            time.sleep(RETRY_S)


def keep_evidence(session: Session, evidence: Evidence | None) -> None:
    """Store the provider's last answer, unless it is there."""
    if evidence is None:
        return
    stored = session.ledger.run(session.run_id).evidence
    if not stored or stored[-1].asked_at_s != evidence.asked_at_s:
        session.ledger.add_evidence(session.run_id, evidence)
