"""The monitor at home: looks after every run that may be billed, at its start and on a timer.

A run whose client is gone is taken over by a process of its own (`manager.service.adopter`); so is one whose client was
stopped or hangs, after that client was ended; a run that a living client lets go beyond its cap is ended. What could
not be done is tried again, later each time. The watcher ends no task by itself: it sees to it that somebody does.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import psutil

from manager.errors import TunefareError
from manager.launch.local_process import ProcessIdentity, is_alive
from manager.runs.client_health import ClientHealth, health
from manager.runs.clients import Client, is_here
from manager.runs.database import LedgerAwayError
from manager.runs.ledger import Ledger
from manager.runs.records import RunRecord
from manager.runs.session import limit_of
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.service.context import Context
from manager.service.detached import LOG_FILE
from manager.service.inspection import open_ledger, reading
from manager.service.own_process import PYTHON, start_own_process
from manager.service.running import LOCAL, supervise_settings
from manager.service.watch_kept import Tries
from manager.units import format_duration

ADOPTER = (*PYTHON, "manager.service.adopter")
TAKEN_S = 45.0
"""For a process that takes a run over to say so in the ledger."""
SETTLE_S = 5.0
"""For a run that has ended already to be closed while somebody waits."""
HEED_S = 10.0
"""For a living client to heed the order to end a run that is beyond its cap."""
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 900.0
"""Between two attempts on a run that could not be brought to its end; the wait doubles from the first to this."""
_POLL_S = 0.1
T = TypeVar("T")


class WatchAction(StrEnum):
    """What was done about a run."""

    WELL = "well"
    """Its client supervises it."""
    ADOPTED = "adopted"
    """A process of its own has taken it over."""
    ENDED = "ended"
    """It came to its end meanwhile."""
    WAITING = "waiting"
    """It could not be brought to its end, and is tried again later."""
    FAILED = "failed"
    """Nobody could be set to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One run in one round."""

    run_id: str
    state: RunState
    action: WatchAction
    detail: str
    """For people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One look at all runs that may be billed."""

    at_s: float
    runs: tuple[Watched, ...]
    left_at_providers: tuple[str, ...] = ()
    """Machines that no run uses and that were not ended, places that did not answer; empty too where nobody asked."""

    @property
    def is_safe(self) -> bool:
        """Whether each of them is supervised or over, and no provider is known to have more."""
        return not self.unsafe

    @property
    def unsafe(self) -> tuple[str, ...]:
        """What makes it unsafe, a sentence each."""
        alone = (run for run in self.runs if run.action in {WatchAction.FAILED, WatchAction.WAITING})
        return (*(f"{run.run_id}: {run.detail}" for run in alone), *self.left_at_providers)


def round_to_json(found: Round) -> dict[str, Any]:
    """A round in its published form, schema 1."""
    runs = [{**asdict(run), "state": str(run.state), "action": str(run.action)} for run in found.runs]
    left = list(found.left_at_providers)
    return {"schema": 1, "at_s": found.at_s, "safe": found.is_safe, "runs": runs, "left_at_providers": left}


def round_from_json(found: Mapping[str, Any]) -> Round:
    """The inverse of `round_to_json`."""
    runs = tuple(
        Watched(
            run_id=run["run_id"],
            state=RunState(run["state"]),
            action=WatchAction(run["action"]),
            detail=run["detail"],
        )
        for run in found["runs"]
    )
    return Round(at_s=found["at_s"], runs=runs, left_at_providers=tuple(found.get("left_at_providers", ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adoption:
    """A process that was set to a run."""

    run_id: str
    why: str
    before: Client | None
    """Whose run it was."""
    process: subprocess.Popen[bytes]


class Watcher:
    """Looks; remembers between two looks what it has tried."""

    def __init__(self, context: Context, tries: Mapping[str, Tries] | None = None) -> None:
        """Args:
        context: surroundings.
        tries: what was tried before, by run.
        """
        self._context = context
        self._heartbeat_s = float(context.config.number("heartbeat_s"))
        self._launch_timeout_s = float(context.config.number("launch_timeout_s"))
        self._tries = dict(tries or {})

    @property
    def tries(self) -> Mapping[str, Tries]:
        """What is to be tried again, by run."""
        return self._tries

    def look(self) -> Round:
        """One round: every run that may be billed has somebody who supervises it afterwards, or is told of.

        Raises:
            StateError: the ledger cannot be used.
        """
        at_s = self._context.clock()
        if not _has_ledger(self._context):
            return Round(at_s=at_s, runs=())
        found: list[Watched] = []
        adoptions: list[_Adoption] = []
        with open_ledger(self._context) as ledger:
            run_ids = ledger.run_ids(MAY_BILL | {RunState.PLANNED})
            for run_id in run_ids:
                one = self._attempt(ledger, run_id, partial(self._look_at, ledger, run_id))
                (found if isinstance(one, Watched) else adoptions).append(one)  # type: ignore[arg-type]
            for adoption in adoptions:
                found.append(self._attempt(ledger, adoption.run_id, partial(self._await, ledger, adoption)))
        self._forget(run_ids)
        return Round(at_s=at_s, runs=tuple(sorted(found, key=lambda one: run_ids.index(one.run_id))))

    def _attempt(self, ledger: Ledger, run_id: str, look: Callable[[], T]) -> T | Watched:
        """A run that cannot be read (a newer version wrote its plan) must not keep the others from being watched."""
        try:
            return look()
        except LedgerAwayError:
            raise
        except TunefareError as error:
            detail = f"it cannot be looked after: {error.message}"
            return Watched(run_id=run_id, state=ledger.state(run_id), action=WatchAction.FAILED, detail=detail)

    def _look_at(self, ledger: Ledger, run_id: str) -> Watched | _Adoption:
        state, client = ledger.state(run_id), ledger.client(run_id)
        silence_s = self._context.clock() - ledger.last_activity_s(run_id)
        how = self._health(ledger, run_id, client, state, silence_s)
        if how is ClientHealth.WELL:
            assert client is not None, "nobody is not well"
            return self._within_cap(ledger, run_id, state, client)
        if how in {ClientHealth.STOPPED, ClientHealth.SILENT}:
            assert client is not None, "a process was found"
            words = f"its client {client.pid} was {how} for {format_duration(silence_s)}"
            return self._replace(ledger, run_id, state, client, words)
        if client is not None and not is_here(client) and ledger.run(run_id).engine == LOCAL:
            detail = f"it runs on {client.host}, where its client is gone: run `tunefare reconcile {run_id}` there, "
            detail += "as the user who launched it"
            return Watched(run_id=run_id, state=state, action=WatchAction.FAILED, detail=detail)
        return self._adopt(ledger, run_id, state, "its client is gone")

    def _health(
        self, ledger: Ledger, run_id: str, client: Client | None, state: RunState, silence_s: float
    ) -> ClientHealth:
        here = client is not None and is_here(client)
        return health(
            is_alive=ledger.client_lives(run_id, self._context.clock()),
            is_stopped=here and client is not None and _is_stopped(client),
            is_here=here,
            state=state,
            silence_s=silence_s,
            heartbeat_s=self._heartbeat_s,
            launch_timeout_s=self._launch_timeout_s,
        )

    def _within_cap(self, ledger: Ledger, run_id: str, state: RunState, client: Client) -> Watched | _Adoption:
        """A living client keeps the cap itself; one that lets it pass is made to end the run, or is ended."""
        why = self._beyond(ledger.run(run_id)) if state is RunState.RUNNING else None
        if why is None:
            who = f"process {client.pid} on {client.host} supervises it"
            return Watched(run_id=run_id, state=state, action=WatchAction.WELL, detail=who)
        ledger.request_stop(run_id, self._context.clock(), f"tunefare watch: {why}", now=True)
        if _wait(lambda: ledger.state(run_id) is not RunState.RUNNING, HEED_S):
            state = ledger.state(run_id)
            action = WatchAction.ENDED if state in FINAL else WatchAction.WELL
            return Watched(run_id=run_id, state=state, action=action, detail=f"it was ended: {why}")
        if is_here(client):
            words = f"{why}; its client {client.pid} did not end it"
            return self._replace(ledger, run_id, state, client, words)
        detail = f"{why}; its client on {client.host} does not end it: run `tunefare stop --now {run_id}` there"
        return Watched(run_id=run_id, state=state, action=WatchAction.FAILED, detail=detail)

    def _replace(self, ledger: Ledger, run_id: str, state: RunState, client: Client, why: str) -> Watched | _Adoption:
        """End a client of this host and have its run taken over; two must never supervise one run."""
        if _kill(client):
            return self._adopt(ledger, run_id, state, f"{why} and was ended")
        detail = f"{why} and could not be ended: end process {client.pid} of {client.host}, as its own user"
        return Watched(run_id=run_id, state=state, action=WatchAction.FAILED, detail=detail)

    def _beyond(self, record: RunRecord) -> str | None:
        limit = limit_of(record, supervise_settings(self._context))
        if limit is None or self._context.clock() <= limit.down_at_s + self._heartbeat_s:
            return None
        return f"it is over its {'cap' if limit.is_cap else 'longest duration'}"

    def _adopt(self, ledger: Ledger, run_id: str, state: RunState, why: str) -> Watched | _Adoption:
        tries = self._tries.setdefault(run_id, Tries())
        now_s = self._context.clock()
        if now_s < tries.next_at_s:
            detail = f"tried {tries.count} times; again in {format_duration(tries.next_at_s - now_s)}"
            return Watched(run_id=run_id, state=state, action=WatchAction.WAITING, detail=detail)
        tries.next_at_s = now_s + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**tries.count)
        tries.count += 1
        run_dir = ledger.run(run_id).run_dir
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            with (run_dir / LOG_FILE).open("ab") as log:
                process = start_own_process(self._context, [*ADOPTER, run_id], stdout=log, stderr=log)
        except OSError as error:
            detail = f"{why}; no process can be set to it: {error.strerror}"
            return Watched(run_id=run_id, state=state, action=WatchAction.FAILED, detail=detail)
        return _Adoption(run_id=run_id, why=why, before=ledger.client(run_id), process=process)

    def _await(self, ledger: Ledger, adoption: _Adoption) -> Watched:
        """Until the process has the run, and for a moment longer, in which one that had ended is closed."""
        process, run_id = adoption.process, adoption.run_id
        _wait(lambda: ledger.client(run_id) != adoption.before or process.poll() is not None, TAKEN_S)
        _wait(lambda: process.poll() is not None, SETTLE_S)
        state, client = ledger.state(run_id), ledger.client(run_id)
        if state in FINAL:
            action, more = WatchAction.ENDED, str(state)
        elif client is not None and client.pid == process.pid and process.poll() is None:
            action, more = WatchAction.ADOPTED, f"process {client.pid} has taken it over"
        elif ledger.client_lives(run_id, self._context.clock()):
            action, more = WatchAction.ADOPTED, "another process was faster"
        else:
            action, more = WatchAction.WAITING, "it could not be brought to its end; tried again"
        return Watched(run_id=run_id, state=state, action=action, detail=f"{adoption.why}: {more}")

    def _forget(self, run_ids: tuple[str, ...]) -> None:
        """Runs that may not be billed any more."""
        self._tries = {run_id: tries for run_id, tries in self._tries.items() if run_id in run_ids}


def unsupervised(context: Context) -> tuple[str, ...]:
    """Runs that may be billed and that nobody supervises; nothing is done about them."""
    if not _has_ledger(context):
        return ()
    with open_ledger(context) as ledger:
        now_s = context.clock()
        return tuple(run_id for run_id in ledger.run_ids(MAY_BILL) if not ledger.client_lives(run_id, now_s))


def _has_ledger(context: Context) -> bool:
    with reading(context) as ledger:
        return ledger is not None


def _is_stopped(client: Client) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return bool(psutil.Process(client.pid).status() == psutil.STATUS_STOPPED)
    return False


def _kill(client: Client) -> bool:
    """End a client of this host, and no later process with its number; whether it is gone."""
    identity = ProcessIdentity(pid=client.pid, created_at_s=client.created_at_s)
    if not is_alive(identity):
        return True
    try:
        psutil.Process(client.pid).kill()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
    return _wait(lambda: not is_alive(identity), HEED_S)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True
