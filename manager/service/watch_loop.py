"""The watcher as a process: one a state folder, a look each so many seconds, a log, and what it saw last for others."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

from manager.errors import StateError, TunefareError
from manager.service.context import Context
from manager.service.watch_kept import Tries, WatchStatus, keep_look, read_asked, read_status, read_tries
from manager.service.watch_orphans import OrphanWatch
from manager.service.watching import Round, WatchAction, Watcher, round_from_json, round_to_json
from manager.units import format_duration

LEAST_S = 5.0
"""Between two looks."""
LOG_BYTES = 1_000_000
OLD_LOGS = 3

Tell = Callable[[str], None]


def look_once(context: Context, tell: Tell, *, by_timer: bool = False) -> Round:
    """One look, at the providers too, kept for `watch_status`; what was done is told and logged.

    Where another watcher is at work its last look is given: two would set two processes to one run.

    Args:
        context: surroundings.
        tell: called with each sentence.
        by_timer: the system asks each minute: providers are asked, and runs tried again, only when it is time. Who
            types it wants both now.

    Raises:
        StateError: the ledger or the state folder cannot be used; another watcher is at work and nobody knows what it
            saw.
    """
    context.home.ensure()
    with _lock(context) as is_ours:
        if not is_ours:
            return _seen_by_another(context, tell)
        tries = read_tries(context)
        if not by_timer:
            tries = {run_id: Tries(count=one.count) for run_id, one in tries.items()}
        loop = _Loop(context, tell, every_s=None)
        watcher, orphans = Watcher(context, tries), OrphanWatch(context, loop.say, asked=read_asked(context))
        try:
            found = loop.look(watcher, orphans)
        except TunefareError as error:
            if by_timer:  # nobody reads what it raises
                loop.fail(error, watcher, orphans)
            raise
        if not by_timer or orphans.is_due:
            orphans.look()
            found = loop.keep(found, watcher, orphans)
        return found


def watch(context: Context, *, every_s: float, tell: Tell) -> None:
    """Look at once and then each `every_s` seconds, until a signal comes; a look that fails is logged and tried again.

    Raises:
        StateError: another watcher has this state folder, or it cannot be written.
    """
    context.home.ensure()
    with _lock(context) as is_ours, _until_signal() as ended:
        if not is_ours:
            raise StateError(
                f"another watcher looks after {context.home.root}", hint="`tunefare watch --status` tells what it saw"
            )
        loop, watcher = _Loop(context, tell, every_s=every_s), Watcher(context, read_tries(context))
        orphans = OrphanWatch(context, loop.say, asked=read_asked(context))
        loop.say(f"watching {context.home.root} each {every_s:.0f} s, process {os.getpid()}")
        while not ended.is_set():
            orphans.tick()
            try:
                loop.look(watcher, orphans)
            except TunefareError as error:
                loop.fail(error, watcher, orphans)
            ended.wait(max(LEAST_S, every_s))
        loop.say("the watcher was ended")


def watch_status(context: Context) -> WatchStatus:
    """What is known of the watcher of this state folder."""
    return read_status(context, is_running=_is_locked(context))


def unsafe(status: WatchStatus) -> tuple[str, ...]:
    """What the last looks saw that may be billed without anybody's care, a sentence each."""
    if status.last is not None:
        return round_from_json(status.last).unsafe
    return () if status.providers is None else status.providers.left


def _seen_by_another(context: Context, tell: Tell) -> Round:
    """What the watcher saw that is at work."""
    status, now_s = watch_status(context), context.clock()
    who = f"another watcher looks after {context.home.root}"
    if status.last is None or status.looked_at_s is None:
        why = "has not told yet what it saw" if status.error is None else f"could not look: {status.error}"
        raise StateError(f"{who} and {why}", hint="ask again in a minute: `tunefare watch --status`")
    ago = f"{format_duration(max(0.0, now_s - status.looked_at_s))} ago"
    if status.is_late(now_s, is_installed=False):
        raise StateError(
            f"{who} and is LATE: it looked last {ago}", hint="read watch.log in the state folder; end that process"
        )
    tell(f"{who}; this is what it saw {ago}")
    return round_from_json(status.last)


class _Loop:
    """Says what a look has found, to whoever listens and into the log; only what is news."""

    def __init__(self, context: Context, tell: Tell, *, every_s: float | None) -> None:
        self._context = context
        self._tell = tell
        self._every_s = every_s
        self._said: dict[str, str] = {}

    def look(self, watcher: Watcher, orphans: OrphanWatch) -> Round:
        """One look at the runs, kept with what the providers told last."""
        found = watcher.look()
        for run in found.runs:
            words = f"{run.run_id}: {run.action}, {run.state}: {run.detail}"
            # A timer that says each minute that all is well, or that it waits, would hide what matters.
            key = f"{run.action} {run.state}" if run.action in {WatchAction.WELL, WatchAction.WAITING} else words
            if self._said.get(run.run_id) != key:
                self._said[run.run_id] = key
                self.say(words)
        return self.keep(found, watcher, orphans)

    def keep(self, found: Round, watcher: Watcher, orphans: OrphanWatch) -> Round:
        """Keep a look, with what the providers told last; all of it."""
        found = replace(found, left_at_providers=() if orphans.asked is None else orphans.asked.left)
        self._keep(found, None, watcher, orphans)
        return found

    def fail(self, error: TunefareError, watcher: Watcher, orphans: OrphanWatch) -> None:
        """A look that failed."""
        if self._said.get("") != error.message:
            self._said[""] = error.message
            self.say(f"cannot look: {error.message}")
        self._keep(None, error.message, watcher, orphans)

    def say(self, text: str) -> None:
        self._tell(text)
        stamp = datetime.fromtimestamp(self._context.clock(), UTC).strftime("%Y-%m-%d %H:%M:%S")
        # A full disk must not end the watcher by way of its log.
        with suppress(OSError):
            _turn_log(self._context)
            descriptor = os.open(self._context.home.watch_log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as log:
                log.write(f"{stamp} {text}\n")

    def _keep(self, found: Round | None, error: str | None, watcher: Watcher, orphans: OrphanWatch) -> None:
        look = {
            "pid": os.getpid(),
            "every_s": self._every_s,
            "looked_at_s": self._context.clock(),
            "error": error,
            "last": None if found is None else round_to_json(found),
        }
        keep_look(self._context, look, orphans.asked, watcher.tries)


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
def _lock(context: Context) -> Iterator[bool]:
    """Hold the folder's lock, which the system drops with the process, however it ends; whether nobody else has it."""
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
            is_ours = True
        except BlockingIOError:
            is_ours = False
        yield is_ours
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
