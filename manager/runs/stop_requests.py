"""Looks into the ledger, at its own rhythm, whether somebody asked for an end of the run."""

from __future__ import annotations

from contextlib import suppress

from manager.errors import StateError
from manager.runs.records import StopRequest
from manager.runs.session import Session


class StopRequests:
    """What other processes asked of a run that is supervised here."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked_at_s = 0.0

    def look(self, *, at_once: bool = False) -> StopRequest | None:
        """The request; None when there is none, or it is not yet time to look again (`at_once` does not wait).

        Raises:
            StateError: the ledger cannot be read.
        """
        now_s = self._session.clock()
        if not at_once and now_s - self._asked_at_s < self._session.settings.stop_poll_s:
            return None
        self._asked_at_s = now_s
        return self._session.ledger.stop_request(self._session.run_id)

    def for_now(self) -> bool:
        """Whether an end at once was asked for; a ledger that cannot be read says nothing: a teardown goes on."""
        with suppress(StateError):
            request = self.look()
            return request is not None and request.now
        return False
