"""Signs of life of a supervision, for watchers: rows that say that its process goes on where nothing else is written.

A charge is such a sign too; while the results come home, a launch is under way or the provider is silent there is none.
A sign that cannot be written is left out: it must end no run. Calls that may hang are covered for a limited time only,
or a process that hangs would look well for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from manager.errors import StateError
from manager.runs.session import Session


class Heartbeat:
    """Of the thread that supervises, while it waits and looks around."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._at_s = session.clock()

    def tick(self) -> None:
        """A sign of life, where the last one is a charge interval old."""
        now_s = self._session.clock()
        if now_s - self._at_s >= self._session.settings.charge_interval_s:
            self._at_s = now_s
            beat(self._session)


def beat(session: Session) -> None:
    """A sign of life now."""
    with suppress(StateError):
        session.ledger.beat(session.run_id, session.clock())


@contextmanager
def beating(session: Session, *, most_s: float) -> Iterator[None]:
    """Signs of life by a thread while one call blocks the thread that supervises.

    Args:
        session: whose run it is.
        most_s: that the call may take, in seconds; beyond it nothing is written, for then it hangs.
    """
    done = threading.Event()
    deadline = time.monotonic() + most_s

    def go_on() -> None:
        while not done.wait(session.settings.charge_interval_s) and time.monotonic() < deadline:
            # A connection each time: one that broke, to a server that was away, would end the signs for good.
            with suppress(StateError), session.ledger.reopen() as ledger:
                ledger.beat(session.run_id, session.clock())

    thread = threading.Thread(target=go_on, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
