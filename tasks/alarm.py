"""One process's failure ends all processes of a run within seconds, and is told as the run's failure.

A process that waits for one that is gone may wait for `together.PATIENCE`, deaf to everything: so each watches, from a
thread, a key of the store over which they met, and gives signs of life there, of which the first process takes note. A
process that is killed, or whose machine vanishes, is missed after `SILENCE_S`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tasks.failures import TaskError
from tasks.protocol import TASK_EXIT_STATUS, FailureCode

SILENCE_S = 300.0
"""Longer than any call may keep the interpreter from its other threads."""
_KEY = "tunefare/failure"
_PERIOD_S = 1.0
_BEAT_S = 10.0
_GRACE_S = 10.0
"""For the main thread to end by itself: with most links it learns at once that the other side is gone."""


class Alarm:
    """Watches for failures of the other processes, and tells them of this one's."""

    def __init__(self, tell: Callable[[TaskError], None], end: Callable[[int], object] = os._exit) -> None:
        """Watch nothing yet.

        Args:
            tell: says a failure for a main thread that cannot.
            end: ends this process with a status, whatever its main thread waits for.
        """
        self._tell = tell
        self._end = end
        self._over = threading.Event()
        self._address: tuple[str, int] | None = None
        self._thread: threading.Thread | None = None

    def arm(self, rank: int, processes: int) -> None:
        """Start to watch; the processes have met."""
        self._address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        # No thread may be inside of torch when the interpreter ends: disarming waits for it, and a daemon it is for the
        # case that nobody does.
        self._thread = threading.Thread(target=self._watch, args=(self._address, rank, processes), daemon=True)
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
        try:
            return _failure(_connect(self._address, patience_s=10.0).compare_set(_KEY, "", _said(own)))
        except (RuntimeError, ValueError):
            # The process that kept the store is gone with it.
            return own

    def _watch(self, address: tuple[str, int], rank: int, processes: int) -> None:
        failure = None
        try:
            store = _connect(address, patience_s=60.0)
            others = _Others(processes if rank == 0 else 1)
            beat_s = 0.0
            while failure is None and not self._over.wait(_PERIOD_S):
                if time.monotonic() - beat_s >= _BEAT_S:
                    beat_s = time.monotonic()
                    store.add(_beat_key(rank), 1)
                    missed = others.missed(store)
                    if missed is not None:
                        store.compare_set(_KEY, "", _said(missed))
                failure = _failure(store.get(_KEY)) if store.check([_KEY]) else None
        except RuntimeError:
            failure = TaskError(FailureCode.INTERNAL, "The first process of this run is gone.")
        if failure is not None and not self._over.wait(_GRACE_S):
            self._tell(failure)
            self._end(TASK_EXIT_STATUS[failure.code])


class _Others:
    """Signs of life of the other processes, as the first one has seen them."""

    def __init__(self, processes: int) -> None:
        now_s = time.monotonic()
        self._seen = {rank: (0, now_s) for rank in range(1, processes)}

    def missed(self, store: Any) -> TaskError | None:
        """What to say of one that has been silent for too long; None while all are heard of."""
        now_s = time.monotonic()
        for rank, (count, seen_s) in self._seen.items():
            found = store.add(_beat_key(rank), 0)
            if found != count:
                self._seen[rank] = (found, now_s)
            elif now_s - seen_s > SILENCE_S:
                return TaskError(
                    FailureCode.INTERNAL,
                    f"Process {rank} of this run has not been heard of for {SILENCE_S:.0f} s.",
                    hint="It was killed, or its machine is gone; started again, the run goes on from its checkpoint.",
                )
        return None


def _connect(address: tuple[str, int], *, patience_s: float) -> Any:
    """A connection of its own to the store: one that waits for a key would hold up the main thread's."""
    from torch import distributed  # Loaded by then; this module is imported before it.

    store: Any = distributed.TCPStore  # type: ignore[attr-defined]
    return store(*address, is_master=False, timeout=timedelta(seconds=patience_s))


def _beat_key(rank: int) -> str:
    return f"tunefare/beat/{rank}"


def _said(failure: TaskError) -> str:
    return json.dumps([str(failure.code), failure.message, failure.hint])


def _failure(said: bytes) -> TaskError:
    code, message, hint = json.loads(said)
    return TaskError(FailureCode(code), message, hint=hint)
