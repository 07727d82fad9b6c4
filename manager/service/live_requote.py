"""The renewed quote of a run as it is shown: figures in words, an open question, what was decided. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manager.reports.wording import plain
from manager.runs.requote_rows import RequoteRow, RequoteStep, open_until_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequote:
    """What became of it until now."""

    text: str
    """Renewed and quoted dollars, each with its interval, and what they rest on."""
    open_until_s: float | None
    """Unix time until which the question can be answered; None: none is open."""
    question: str | None
    """What follows without an answer; None: none is open."""
    decided: str | None
    """What the rule did, or who answered; None: nothing yet."""


def live_requote(rows: Sequence[RequoteRow], *, now_s: float, is_over: bool) -> LiveRequote | None:
    """None: no probe has renewed the quote."""
    renewed = [row for row in rows if row.step is RequoteStep.RENEWED]
    if not renewed:
        return None
    until_s = None if is_over else open_until_s(rows, now_s)
    last = rows[-1]
    return LiveRequote(
        text=plain(renewed[-1].text),
        open_until_s=until_s,
        question=None if until_s is None else plain(last.text),
        decided=plain(last.text) if last.step in (RequoteStep.SETTLED, RequoteStep.ANSWERED) else None,
    )


def requote_words(quote: LiveRequote | None) -> str:
    """`quote renewed: the run goes on ...; now $1.20 (...), quoted $0.80 (...)`; empty without one. Decision first:
    figures are what a narrow terminal cuts."""
    if quote is None:
        return ""
    if quote.question is not None:
        return f"ASKED whether it goes on (a answers): {quote.question}; {quote.text}"
    return f"quote renewed: {quote.text}" + ("" if quote.decided is None else f"; {quote.decided}")
