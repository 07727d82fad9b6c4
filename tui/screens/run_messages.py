"""What the threads of the screen Run find out, and the messages that carry it."""

from __future__ import annotations

from textual.message import Message

from manager.service.context import Context
from manager.service.live import Follower
from manager.service.live_run import LiveRun
from manager.service.nouns import RunSummary
from manager.service.run_list import run_summaries

_PATIENCE_S = 2.0
"""With a ledger that another process has locked; the list is read again soon."""


class Listed(Message):
    """All runs."""

    def __init__(self, runs: tuple[RunSummary, ...]) -> None:
        super().__init__()
        self.runs = runs


class Opened(Message):
    """A run is followed from now on."""

    def __init__(self, follower: Follower, asked: str) -> None:
        super().__init__()
        self.follower = follower
        self.asked = asked
        """As the run was called, which may be the beginning of its name."""


class Polled(Message):
    """How a run stands, and the lines of its log that are new."""

    def __init__(
        self,
        follower: Follower,
        live: LiveRun,
        *,
        log_before: int,
        log_version: int,
        search: str,
        lines: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.follower, self.live = follower, live
        self.log_before, self.log_version = log_before, log_version
        self.search, self.lines = search, lines


class Searched(Message):
    """All lines of the log with a text."""

    def __init__(self, follower: Follower, *, log_version: int, search: str, lines: tuple[str, ...]) -> None:
        super().__init__()
        self.follower, self.log_version = follower, log_version
        self.search, self.lines = search, lines


def listed(context: Context) -> Listed:
    """In a thread: the runs there are."""
    return Listed(run_summaries(context, patience_s=_PATIENCE_S))


def opened(context: Context, run: str) -> Opened:
    """In a thread: find a run."""
    return Opened(Follower(context, run), run)


def polled(follower: Follower, log_version: int, search: str) -> Polled:
    """In a thread: how the run stands."""
    live = follower.poll()
    version, lines = follower.log_since(log_version, search)
    return Polled(follower, live, log_before=log_version, log_version=version, search=search, lines=lines)


def searched(follower: Follower, search: str) -> Searched:
    """In a thread: search the log."""
    version, lines = follower.log_since(0, search)
    return Searched(follower, log_version=version, search=search, lines=lines)
