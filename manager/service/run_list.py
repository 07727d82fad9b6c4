"""All runs in one line each, what may still be billed first; and the part of them that somebody asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from manager.errors import StateError, UsageError
from manager.runs.ledger import BUSY_TIMEOUT_S
from manager.runs.records import RunRecord
from manager.runs.states import FINAL, RunState
from manager.runs.summary import RunSummary
from manager.service.context import Context
from manager.service.inspection import has_client, open_ledger
from manager.service.known_names import check_names
from manager.service.money_words import rate_words
from tasks.kinds import LOWER_IS_BETTER

_UNITS_S = {"h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChoice:
    """Which runs are asked for, and in which order; the defaults ask for all."""

    text: str = ""
    """Words that each stand somewhere in the run's line, in any case of letters."""
    states: tuple[str, ...] = ()
    """Names of RunState; empty: any."""
    project: str | None = None
    user: str | None = None
    """Who launched them."""
    since_s: float | None = None
    """Created then or later, Unix time in seconds."""
    may_bill: bool = False
    """Only what may be billed at this moment."""
    sort: str = "newest"
    """One of SORTS; what may still be billed stands first in `newest` alone."""
    limit: int | None = None
    """The first of them."""


LedgerMark = tuple[tuple[int, int] | int | None, ...]
"""Differs when the ledger was written."""
_MARK_PATIENCE_S = 1.0


def ledger_mark(context: Context) -> LedgerMark:
    """Times and sizes of the ledger's files: who keeps the mark need not read what did not change."""
    if context.ledger_url is not None:
        # One that does not answer is met, and reported, by the reading that follows.
        with suppress(StateError), open_ledger(context, patience_s=_MARK_PATIENCE_S) as ledger:
            return ledger.mark()
        return ()
    file = context.home.ledger_file
    return (_stamp(file), _stamp(file.with_name(f"{file.name}-wal")))


def run_summaries(
    context: Context,
    *,
    must_exist: bool = False,
    patience_s: float = BUSY_TIMEOUT_S,
    known: Mapping[str, RunSummary] | None = None,
) -> tuple[RunSummary, ...]:
    """All runs, newest first, but those that may still be billed before all others.

    Args:
        context: surroundings.
        must_exist: refuse where there is no ledger any more, for who has read it before; else there are no runs then.
        patience_s: how long to wait for a lock that another process holds, in seconds.
        known: what was read before, by name: runs that were over then are not read again.

    Raises:
        StateError: the ledger cannot be used.
    """
    file = context.home.ledger_file
    if not context.has_ledger:
        if must_exist:
            raise StateError(
                f"the ledger {file} is gone",
                hint="Put it back, or restore a backup; check your providers' consoles for machines that still run.",
            )
        return ()
    with open_ledger(context, patience_s=patience_s) as ledger:
        now_s = context.clock()
        found = [
            each if each.state in FINAL else replace(each, has_client=has_client(ledger, each.run_id, now_s))
            for each in ledger.summaries(known)
        ]
    return tuple(sorted(found, key=lambda each: (not each.may_bill, -each.created_at_s)))


def records_of(context: Context, summaries: Iterable[RunSummary]) -> Iterator[RunRecord]:
    """All that the ledger knows of these runs but their events, one at a time."""
    for summary in summaries:
        with open_ledger(context) as ledger:
            record = ledger.run(summary.run_id)
        yield record


def choose_runs(summaries: Sequence[RunSummary], choice: RunChoice) -> tuple[RunSummary, ...]:
    """The part that is asked for.

    Raises:
        UsageError: a state or an order that there is not.
    """
    check_names("state", choice.states, {str(state) for state in RunState})
    check_names("order", (choice.sort,), set(SORTS))
    words = choice.text.casefold().split()
    found = [each for each in summaries if _is_wanted(each, choice) and _has_words(each, words)]
    key = SORTS[choice.sort]
    if key is not None:
        known = [each for each in found if key(each) is not None]
        found = sorted(known, key=key) + [each for each in found if key(each) is None]
    return tuple(found[: choice.limit])


def moment_s(text: str, now_s: float) -> float:
    """Unix time of `2026-11-21` or `2026-11-21T08:00` (UTC), or of so long ago: `12h`, `7d`, `2w`.

    Raises:
        UsageError: neither of them.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS_S and number.isdecimal():
        return now_s - timedelta(seconds=int(number) * _UNITS_S[unit]).total_seconds()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no moment", hint="write a date such as 2026-11-21, or so long ago: 12h, 7d, 2w"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def billing_text(summaries: Iterable[RunSummary]) -> str | None:
    """`2 runs may still be billed: $1.20/h, 1 without a client (tunefare reconcile)`; None where none may."""
    billing = [each for each in summaries if each.may_bill]
    if not billing:
        return None
    prices = [each.price_usd_per_hour for each in billing]
    runs = f"{len(billing):,} runs" if len(billing) != 1 else "1 run"
    left = sum(1 for each in billing if each.has_client is False)
    alone = f", {left:,} without a client (tunefare reconcile)" if left else ""
    return f"{runs} may still be billed: {rate_words(prices)}{alone}"


def _stamp(file: Path) -> tuple[int, int] | None:
    """Of a file with content; the log of writes is made empty by each reader that comes first."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return (facts.st_mtime_ns, facts.st_size) if facts.st_size else None


def _is_wanted(summary: RunSummary, choice: RunChoice) -> bool:
    return (
        (not choice.states or str(summary.state) in map(str.casefold, choice.states))
        and (choice.project is None or summary.project == choice.project)
        and (choice.user is None or summary.user == choice.user)
        and (choice.since_s is None or summary.created_at_s >= choice.since_s)
        and (not choice.may_bill or summary.may_bill)
    )


def _has_words(summary: RunSummary, words: list[str]) -> bool:
    if not words:
        return True
    texts = (summary.run_id, summary.name, summary.project, summary.task, summary.model, summary.method, summary.user)
    line = " ".join(text for text in (*texts, summary.machine, str(summary.state)) if text).casefold()
    return all(word in line for word in words)


def metric_order(summary: RunSummary) -> tuple[str, float] | None:
    """To sort by: metric by metric, the best run of each first; None: not evaluated."""
    if summary.metric is None or summary.metric_after is None:
        return None
    return summary.metric, summary.metric_after if summary.metric in LOWER_IS_BETTER else -summary.metric_after


SORTS: dict[str, Callable[[RunSummary], Any] | None] = {
    "newest": None,
    "oldest": lambda run: run.created_at_s,
    "cost": lambda run: None if run.cost_usd is None else -run.cost_usd,
    "hours": lambda run: None if run.billed_hours is None else -run.billed_hours,
    "ratio": lambda run: None if run.cost_ratio is None else -run.cost_ratio,
    "metric": metric_order,
    "name": lambda run: run.name,
    "project": lambda run: run.project,
    "user": lambda run: run.user,
    "state": lambda run: str(run.state),
}
"""Orders by name: numbers from the highest down, metrics from the best; what is unknown comes last."""
