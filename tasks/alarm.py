"""One process's failure ends all processes of a run within seconds, and is told as the run's failure.

A process that waits for one that is gone may wait for `together.PATIENCE`, deaf to everything: so each watches, from a
thread, a key of the store over which they met. A machine that vanishes says nothing here; then the wait ends by itself.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tasks.failures import TaskError
from tasks.protocol import EXIT_INTERNAL, TASK_EXIT_STATUS, FailureCode

_KEY = "tunefare/failure"
_PERIOD_S = 1.0
_GRACE_S = 10.0
"""For the main thread to end by itself: with most links it learns at once that the other side is gone."""


class Alarm:
    """Watches for failures of the other processes, and tells them of this one's."""

    def __init__(self, tell: Callable[[TaskError], None]) -> None:
        """Watch nothing yet; `tell` says a failure for a main thread that cannot, on the first process."""
        self._tell = tell
        self._over = threading.Event()
        self._address: tuple[str, int] | None = None
        self._thread: threading.Thread | None = None

    def arm(self) -> None:
        """Start to watch; the processes have met."""
        self._address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        # No thread may be inside of torch when the interpreter ends: disarming waits for it, and a daemon it is for the
        # case that nobody does.
        self._thread = threading.Thread(target=self._watch, args=(_connect(self._address),), daemon=True)
        self._thread.start()

    def disarm(self) -> None:
        """Stop watching: this process ends by itself."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_GRACE_S)

    def first_failure(self, own: TaskError) -> TaskError:
        """Tell the others of a failure; what failed first, of all processes, which can be the cause of this one."""
        if self._address is None:
            return own
        said = json.dumps([str(own.code), own.message, own.hint])
        try:
            return _failure(_connect(self._address).compare_set(_KEY, "", said))
        except (RuntimeError, ValueError):
            # The process that kept the store is gone with it.
            return own

    def _watch(self, store: Any) -> None:
        while not self._over.wait(_PERIOD_S):
            try:
                failure = _failure(store.get(_KEY)) if store.check([_KEY]) else None
            except RuntimeError:
                failure = TaskError(FailureCode.INTERNAL, "The first process of this run is gone.")
            if failure is not None:
                if not self._over.wait(_GRACE_S):
                    self._tell(failure)
                    os._exit(TASK_EXIT_STATUS.get(failure.code, EXIT_INTERNAL))
                return


def _connect(address: tuple[str, int]) -> Any:
    """A connection of its own to the store: one that waits for a key would hold up the main thread's."""
    from torch import distributed  # Loaded by then; this module is imported before it.

    store: Any = distributed.TCPStore  # type: ignore[attr-defined]
    return store(*address, is_master=False, timeout=timedelta(seconds=10))


def _failure(said: bytes) -> TaskError:
    code, message, hint = json.loads(said)
    return TaskError(FailureCode(code), message, hint=hint)
