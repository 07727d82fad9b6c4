"""A request to stop that somebody left in the run's bucket: the way to a machine that nobody at home has an address of.

It counts for the run, not for a machine: one that goes on after another was lost finds it too. The request becomes the
signal that any other request to stop is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from tasks.stores.errors import StoreError
from tasks.stores.store import Store

STOP_OBJECT = "stop-request"
"""Its name in the run's folder; what is in it does not matter."""


class StopRequestWatch:
    """Looks for the request in a thread, until it is there or the watch is closed."""

    def __init__(
        self,
        store: Store,
        *,
        every_s: float,
        stop: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
    ) -> None:
        """Args:
        store: of the run.
        every_s: between two looks.
        stop: called once, when the request is there.
        """
        self._store = store
        self._every_s = every_s
        self._stop = stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stop-request", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            if self._is_there():
                self._stop()
                return
            self._over.wait(self._every_s)

    def _is_there(self) -> bool:
        try:
            self._store.get_bytes(STOP_OBJECT)
        except StoreError:
            # Not there, or a store that does not answer: it is asked again.
            return False
        return True
