"""Ctrl-C, SIGTERM and a closed terminal while something may bill: noted, never allowed to skip the teardown.

Signals only count, except inside `raising()`: there the first one raises KeyboardInterrupt, so that a launch which
blocks for minutes can be left. Handlers can be set in the main thread only; elsewhere (the TUI's workers) this object
is inert and a run is ended through a stop request.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Context manager that owns the three signals while it is open."""

    def __init__(self) -> None:
        self.count = 0
        """Signals so far: the first asks for an end in good order, the second for an end at once."""
        self._raise = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                # Who starts a process with SIGHUP ignored (nohup, a detached run) wants it to outlive the terminal.
                if signum is signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
                    continue
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    @property
    def active(self) -> bool:
        """Whether signals arrive here at all."""
        return bool(self._previous)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Inside, a signal raises KeyboardInterrupt; so does one that came before."""
        self._raise = True
        try:
            if self.count:
                raise KeyboardInterrupt
            yield
        finally:
            self._raise = False

    def _note(self, _signum: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._raise:
            # Once: what cleans up inside the launch is not torn out of it by an impatient second Ctrl-C.
            self._raise = False
            raise KeyboardInterrupt
