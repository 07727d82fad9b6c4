"""Tries again what may pass: pauses that double, with chance in them, and a limit on the whole time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tasks.stores.errors import CorruptError, GaveUpError, PassingError

T = TypeVar("T")

MOST_CORRUPT = 4
"""Times that content may come or go wrong before it counts as wrong where it lies."""

_LONGEST_REQUEST_S = 75.0
"""Until a client gives one up: to connect, and to wait for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one request is tried."""

    first_pause_s: float = 0.5
    """Before the second try; doubles with each."""
    longest_pause_s: float = 20.0
    total_s: float = 300.0
    """No further try begins after this time; a try that is longer than any request, so a whole transfer, renews it."""


class Retrying:
    """Runs requests until they succeed, patience is over, or somebody cancels."""

    def __init__(self, patience: Patience, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._cancelled = threading.Event()
        self.retries = 0
        """Tries that failed and were made again; for those who measure."""

    def cancel(self) -> None:
        """Try nothing again from now on; a pause ends at once."""
        self._cancelled.set()

    def __call__(self, what: str, work: Callable[[], T]) -> T:
        """The result of the first try that succeeds.

        Args:
            what: named when patience is over.
            work: one try; PassingError and CorruptError let it be made again, all else passes through.

        Raises:
            CorruptError: the content was wrong each time.
            GaveUpError: none succeeded in time.
        """
        deadline = self._clock() + self._patience.total_s
        pause_s, tries, corrupt, renewed = self._patience.first_pause_s, 0, 0, 0
        while True:
            tries += 1
            began = self._clock()
            try:
                return work()
            except (PassingError, CorruptError) as error:
                corrupt += isinstance(error, CorruptError)
                if corrupt >= MOST_CORRUPT:
                    raise
                # Hours of a transfer whose last byte was wrong must not be all that there was time for.
                if self._clock() - began > _LONGEST_REQUEST_S and renewed < MOST_CORRUPT:
                    renewed += 1
                    deadline = self._clock() + self._patience.total_s
                # Many machines that were throttled together must not come back together.
                wait_s = pause_s * random.uniform(0.5, 1.0)
                is_late = self._clock() + wait_s > deadline
                if is_late or self._cancelled.wait(wait_s):
                    raise GaveUpError(
                        f"{what} failed {tries} times: {error.message}",
                        hint=error.hint or "Check the network and the bucket; what is stored so far is kept.",
                    ) from error
            self.retries += 1
            pause_s = min(2 * pause_s, self._patience.longest_pause_s)
