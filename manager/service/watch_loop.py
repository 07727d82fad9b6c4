"""The watcher as a process: one a state folder, a look each so many seconds, a log, and what it saw last for others."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from manager.errors import StateError, TunefareError
from manager.service.context import Context
from manager.service.starting import write_whole
from manager.service.watch_orphans import OrphanWatch
from manager.service.watching import Round, WatchAction, Watcher, round_to_json

LEAST_S = 5.0
"""Between two looks."""
LOG_BYTES = 1_000_000
OLD_LOGS = 3
LATE_LOOKS = 3
"""A watcher that has not looked for so many times its interval is not at work."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStatus:
    """Whether somebody watches, and what was seen last."""

    is_running: bool
    """A watcher lives, on this host or another one that shares the folder."""
    pid: int | None
    """Of the watcher that looked last."""
    every_s: float | None
    """None: it looked once."""
    looked_at_s: float | None
    """Unix time of the last look; None: never."""
    error: str | None
    """Why the last look failed."""
    last: dict[str, Any] | None
    """The last round, as `round_to_json` gives it."""

    def is_late(self, now_s: float) -> bool:
        """Whether it should have looked again by now."""
        if not self.is_running or self.every_s is None or self.looked_at_s is None:
            return False
        return now_s - self.looked_at_s > LATE_LOOKS * self.every_s


def look_once(context: Context, tell: Tell) -> Round:
    """One look, at the providers too, kept for `watch_status`; what was done is told and logged.

    Raises:
        StateError: the ledger or the state folder cannot be used.
    """
    context.home.ensure()
    loop = _Loop(context, tell, every_s=None)
    found = loop.look(Watcher(context))
    return replace(found, left_at_providers=OrphanWatch(context, loop.say).look())


def watch(context: Context, *, every_s: float, tell: Tell) -> None:
    """Look at once and then each `every_s` seconds, until a signal comes; a look that fails is logged and tried again.

    Raises:
        StateError: another watcher has this state folder, or it cannot be written.
    """
    context.home.ensure()
    with _only_one(context), _until_signal() as ended:
        loop, watcher = _Loop(context, tell, every_s=every_s), Watcher(context)
        orphans = OrphanWatch(context, loop.say)
        loop.say(f"watching {context.home.root} each {every_s:.0f} s, process {os.getpid()}")
        while not ended.is_set():
            orphans.tick()
            try:
                loop.look(watcher)
            except TunefareError as error:
                loop.fail(error)
            ended.wait(max(LEAST_S, every_s))
        loop.say("the watcher was ended")


def watch_status(context: Context) -> WatchStatus:
    """What is known of the watcher of this state folder."""
    kept: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(context.home.watch_file.read_text(encoding="utf-8"))
    return WatchStatus(
        is_running=_is_locked(context),
        pid=kept.get("pid"),
        every_s=kept.get("every_s"),
        looked_at_s=kept.get("looked_at_s"),
        error=kept.get("error"),
        last=kept.get("last"),
    )


class _Loop:
    """Says what a look has found, to whoever listens and into the log; only what is news."""

    def __init__(self, context: Context, tell: Tell, *, every_s: float | None) -> None:
        self._context = context
        self._tell = tell
        self._every_s = every_s
        self._said: dict[str, str] = {}

    def look(self, watcher: Watcher) -> Round:
        found = watcher.look()
        for run in found.runs:
            words = f"{run.run_id}: {run.action}, {run.state}: {run.detail}"
            # A timer that says each minute that all is well, or that it waits, would hide what matters.
            key = f"{run.action} {run.state}" if run.action in {WatchAction.WELL, WatchAction.WAITING} else words
            if self._said.get(run.run_id) != key:
                self._said[run.run_id] = key
                self.say(words)
        self._keep(found, None)
        return found

    def fail(self, error: TunefareError) -> None:
        """A look that failed."""
        if self._said.get("") != error.message:
            self._said[""] = error.message
            self.say(f"cannot look: {error.message}")
        self._keep(None, error.message)

    def say(self, text: str) -> None:
        self._tell(text)
        stamp = datetime.fromtimestamp(self._context.clock(), UTC).strftime("%Y-%m-%d %H:%M:%S")
        # A full disk must not end the watcher by way of its log.
        with suppress(OSError):
            _turn_log(self._context)
            descriptor = os.open(self._context.home.watch_log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as log:
                log.write(f"{stamp} {text}\n")

    def _keep(self, found: Round | None, error: str | None) -> None:
        content = {
            "schema": 1,
            "pid": os.getpid(),
            "every_s": self._every_s,
            "looked_at_s": self._context.clock(),
            "error": error,
            "last": None if found is None else round_to_json(found),
        }
        with suppress(OSError):
            write_whole(self._context.home.watch_file, json.dumps(content) + "\n")


def _turn_log(context: Context) -> None:
    """Put a log that has grown aside, and the oldest away."""
    log = context.home.watch_log_file
    if not log.exists() or log.stat().st_size < LOG_BYTES:
        return
    for number in range(OLD_LOGS, 1, -1):
        with suppress(FileNotFoundError):
            os.replace(f"{log}.{number - 1}", f"{log}.{number}")
    os.replace(log, f"{log}.1")


@contextmanager
def _only_one(context: Context) -> Iterator[None]:
    """Hold the folder's lock, which the system drops with the process, however it ends."""
    file = context.home.watch_lock_file
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StateError(
            f"{file} cannot be written: {error.strerror}", hint="make the state folder writable"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                f"another watcher looks after {context.home.root}",
                hint="`tunefare watch --status` tells which; `tunefare watch --once` looks now",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _is_locked(context: Context) -> bool:
    try:
        descriptor = os.open(context.home.watch_lock_file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM, SIGINT and, where it is heeded, SIGHUP set."""
    ended = threading.Event()

    def end(_signum: int, _frame: FrameType | None) -> None:
        ended.set()

    signals = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
