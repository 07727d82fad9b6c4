"""SIGTERM and SIGINT become a flag that the loop reads between steps, or an immediate end where nothing can be lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The program was asked to stop at a place where nothing has to be saved; no `except Exception` may swallow it."""


class StopFlag:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.requested = False
        """Set by the first SIGTERM or SIGINT, never cleared; later signals change nothing."""
        self._immediate = False

    def install(self) -> None:
        """Take over SIGTERM and SIGINT of this process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Within this block a signal raises Interrupted at once, as does one that came before."""
        self.check()
        self._immediate = True
        try:
            yield
        finally:
            self._immediate = False
        self.check()

    def check(self) -> None:
        """Raise Interrupted if a stop was asked for."""
        if self.requested:
            raise Interrupted

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if first and self._immediate:
            raise Interrupted
