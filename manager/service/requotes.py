"""The question whether a run goes on that turned out dearer, put through the ledger: any front end may answer it.

A supervising process without a terminal asks so; beside one, whoever answers first decides. A ledger that is away is
as good as nobody who answers: the run's rule knows what follows.
"""

from __future__ import annotations

import time
from contextlib import suppress

from manager.errors import StateError, UsageError
from manager.runs.ledger import Ledger
from manager.runs.requote import Ask, Question, Requote
from manager.runs.requote_rows import RequoteRow, RequoteStep, answer_in, open_until_s
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.units import format_duration

_LOOK_S = 1.0
"""Between two looks for an answer."""


def safe_words(*, breaks_cap: bool) -> str:
    """What follows without an answer."""
    return "it is ended, for its cap would be broken" if breaks_cap else "it goes on, and keeps its cap"


def asking(context: Context, run_id: str, beside: Ask | None = None) -> Ask:
    """Puts the question through the ledger, and beside it to somebody at a terminal."""

    def ask(renewed: Requote, patience_s: float) -> Question:
        at_terminal = None if beside is None else beside(renewed, patience_s)
        return LedgerQuestion(context, run_id, renewed, patience_s, beside=at_terminal)

    return ask


class LedgerQuestion:
    """One question; a connection of its own, for the supervision's may wait for a lock."""

    def __init__(
        self, context: Context, run_id: str, renewed: Requote, patience_s: float, *, beside: Question | None
    ) -> None:
        self._run_id = run_id
        self._beside = beside
        self._looked_at_s = 0.0
        self._ledger: Ledger | None = None
        now_s = context.clock()
        text = f"without an answer {safe_words(breaks_cap=renewed.breaks_cap)}"
        row = RequoteRow(step=RequoteStep.ASKED, at_s=now_s, text=text, until_s=now_s + patience_s)
        with suppress(StateError):
            self._ledger = open_ledger(context)
            self._ledger.add_requote(run_id, row)

    def answer(self) -> bool | None:
        """True: go on; False: end the run; None: no answer yet."""
        said = None if self._beside is None else self._beside.answer()
        now_s = time.monotonic()
        if said is not None or self._ledger is None or now_s - self._looked_at_s < _LOOK_S:
            return said
        self._looked_at_s = now_s
        with suppress(StateError):
            return answer_in(self._ledger.requotes(self._run_id))
        return None

    def withdraw(self) -> None:
        """Nobody needs an answer any more."""
        if self._beside is not None:
            self._beside.withdraw()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None


def renewed_quote(context: Context, run: str) -> tuple[str, tuple[RequoteRow, ...]]:
    """The run's id and what became of its renewed quote, oldest first; empty: no probe has renewed it.

    Raises:
        UsageError: no such run.
        StateError: the ledger cannot be read.
    """
    with open_ledger(context) as ledger:
        run_id = ledger.resolve(run)
        return run_id, ledger.requotes(run_id)


def answer_requote(context: Context, run: str, *, goes_on: bool) -> str:
    """Answer the open question of a run; its id.

    Raises:
        UsageError: no such run, or it asks nothing now.
        StateError: the ledger cannot be used.
    """
    with open_ledger(context) as ledger:
        run_id = ledger.resolve(run)
        now_s = context.clock()
        rows = ledger.requotes(run_id)
        if open_until_s(rows, now_s) is None:
            raise UsageError(f"{run_id} asks nothing now{_since(rows, now_s)}", hint=f"end it: tunefare stop {run_id}")
        who = f" by {context.user}" if context.user else ""
        text = f"answered{who}: {'go on' if goes_on else 'end'}"
        ledger.add_requote(run_id, RequoteRow(step=RequoteStep.ANSWERED, at_s=now_s, text=text, goes_on=goes_on))
    return run_id


def _since(rows: tuple[RequoteRow, ...], now_s: float) -> str:
    if not rows:
        return ": no probe has renewed its quote"
    return f": {rows[-1].text} ({format_duration(max(0.0, now_s - rows[-1].at_s))} ago)"
