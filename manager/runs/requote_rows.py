"""What the ledger keeps of a renewed quote: the figures in words, the question, its answer, what was decided.

Rows let a supervising process that has no terminal ask whoever looks at the run from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from manager.runs.rows import Row

REQUOTE_COLUMNS = "step, at_s, text, until_s, goes_on"


class RequoteStep(StrEnum):
    """What a row is about, in the order in which they come."""

    RENEWED = "renewed"
    """By the probe: renewed against quoted dollars."""
    ASKED = "asked"
    """Whether the run goes on."""
    ANSWERED = "answered"
    SETTLED = "settled"
    """What the rule did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequoteRow:
    """One row."""

    step: RequoteStep
    at_s: float
    """Unix time in seconds."""
    text: str
    """For people."""
    until_s: float | None = None
    """Of a question: Unix time until which it is open."""
    goes_on: bool | None = None
    """Of an answer."""


def requote_to_row(row: RequoteRow) -> Row:
    """In the order of REQUOTE_COLUMNS."""
    return (str(row.step), row.at_s, row.text, row.until_s, None if row.goes_on is None else int(row.goes_on))


def requote_from_row(row: Row) -> RequoteRow:
    """The inverse of `requote_to_row`."""
    step, at_s, text, until_s, goes_on = row
    return RequoteRow(
        step=RequoteStep(step),
        at_s=at_s,
        text=text,
        until_s=until_s,
        goes_on=None if goes_on is None else bool(goes_on),
    )


def answer_in(rows: Sequence[RequoteRow]) -> bool | None:
    """What the first answer after the newest question says; None: there is none."""
    answer = None
    for row in rows:
        if row.step is RequoteStep.ASKED:
            answer = None
        elif row.step is RequoteStep.ANSWERED and answer is None:
            answer = row.goes_on
    return answer


def open_until_s(rows: Sequence[RequoteRow], now_s: float) -> float | None:
    """Until when the newest question can be answered; None: none is open."""
    if not rows or rows[-1].step is not RequoteStep.ASKED:
        return None
    until_s = rows[-1].until_s
    return until_s if until_s is not None and now_s < until_s else None
