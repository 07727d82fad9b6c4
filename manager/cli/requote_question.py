"""The question whether a run goes on that turned out dearer, at a terminal that shows the run meanwhile."""

from __future__ import annotations

import os
import select
import sys
import threading

from manager.cli.output import narrate
from manager.runs.requote import Requote

_POLL_S = 0.2
_YES, _NO = ("y", "yes"), ("n", "no")


def can_ask() -> bool:
    """Whether somebody can see a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(renewed: Requote, patience_s: float) -> TerminalQuestion:
    """Ask whether the run goes on; a `manager.runs.requote.Ask`."""
    safe = "it is ended, for its cap would be broken" if renewed.breaks_cap else "it goes on, and keeps its cap"
    narrate(f"The machine measured the run: {renewed.text}")
    narrate(f"Go on? [y/n] Without an answer in {patience_s:.0f} s {safe}.")
    return TerminalQuestion()


class TerminalQuestion:
    """Reads lines in a thread of its own, so that supervision keeps its rhythm; no thread reads on when it is over."""

    def __init__(self) -> None:
        self._answer: bool | None = None
        self._is_over = threading.Event()
        threading.Thread(target=self._read, name="requote-answer", daemon=True).start()

    def answer(self) -> bool | None:
        """True: go on; False: end the run; None: no answer yet."""
        return self._answer

    def withdraw(self) -> None:
        """Stop reading."""
        self._is_over.set()

    def _read(self) -> None:
        while not self._is_over.is_set():
            if not _is_in_front():
                # Whoever reads from behind is stopped by the terminal, supervision with it.
                self._is_over.wait(_POLL_S)
                continue
            ready, _, _ = select.select([sys.stdin], [], [], _POLL_S)
            line = sys.stdin.readline() if ready else None
            if line == "":
                return
            if line is not None and (word := line.strip().lower()) in (*_YES, *_NO):
                self._answer = word in _YES
                return
            if line is not None:
                narrate("y to go on, n to end the run")


def _is_in_front() -> bool:
    """Whether what is typed is meant for this process: false for one that a shell has put into the background."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False
