"""The end of every run: results home, machine down, proof asked for, state written. Nothing in here may be skipped.

An error of one step is kept and the next step is done all the same; the first of them is raised when all is through.
Money comes first: a ledger that cannot be written and a listener that is gone do not keep a machine alive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from manager.errors import ExitCode, StateError, TeardownUnconfirmedError, TunefareError
from manager.launch.engine import Evidence, Handle, MachineState, TellsEnd
from manager.launch.from_store import Brought, bring_from_store
from manager.runs.beats import Heartbeat, beat
from manager.runs.events_file import read_events
from manager.runs.fetch_limit import fetch_limit, left_behind
from manager.runs.interrupts import Interrupts
from manager.runs.pump import Background
from manager.runs.records import RunRecord
from manager.runs.session import Session
from manager.runs.settle import keep_evidence, settle
from manager.runs.states import RunState
from manager.runs.stop_requests import StopRequests
from manager.runs.updates import EvidenceUpdate
from manager.runs.verdict import End, EndReason, Verdict, judge
from tasks.protocol import EVENTS_FILE

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended."""

    record: RunRecord
    exit_code: ExitCode
    error: TunefareError | None
    """What to tell the user, with its hint; None when the task is through."""


_AT_WORK = frozenset({MachineState.STARTING, MachineState.RUNNING})


class _Errors:
    """Goes on after an error and remembers the first."""

    def __init__(self) -> None:
        self.first: Exception | None = None

    def attempt(self, call: Callable[[], T], fallback: T) -> T:
        """The call's result, or the fallback when it failed."""
        try:
            return call()
        except Exception as error:  # Any error: a teardown that stops half-way leaves a machine that bills.
            self.first = self.first or error
            return fallback

    def heal(self) -> None:
        """What the ledger had refused it has taken meanwhile."""
        if isinstance(self.first, StateError):
            self.first = None


def close_run(
    session: Session,
    end: End,
    interrupts: Interrupts,
    *,
    ended_at_s: float | None = None,
    was_told: bool = True,
) -> RunOutcome:
    """Take the run down and write how it ended: a final state with evidence, or UNCONFIRMED.

    Args:
        session: what is known of the run.
        end: why it ends.
        interrupts: counts the user's signals; one that comes while results are fetched ends the fetch.
        ended_at_s: Unix time at which the machine had ended already, unless events that come home now prove that it
            lived on; None: it ends now, or, where it turns out to be gone, with its last sign of life.
        was_told: whether a task that may be at work was told to end; one that was not is told before its results are
            fetched, for what it writes after that goes with its machine.

    Raises:
        TeardownUnconfirmedError: something is left for all that is known, and another error came on top of it.
        StateError: the ledger could not be written; the machine was taken down all the same.
    """
    errors = _Errors()
    errors.attempt(lambda: _enter_teardown(session, end), None)
    machine = MachineState.UNKNOWN
    evidence: Evidence | None = None
    if session.handle is not None:
        machine = _bring_home(session, session.handle, errors, end, interrupts, was_told=was_told)
        evidence = _take_down(session, session.handle, errors)
        # A task that was killed may have written after its events were fetched; now nobody writes any more.
        errors.attempt(lambda: store_missing_events(session), None)
    if ended_at_s is None and machine is MachineState.GONE and evidence is not None and evidence.confirmed:
        ended_at_s = errors.attempt(lambda: _last_sign_s(session), None)
    elif ended_at_s is not None:
        ended_at_s = max(ended_at_s, errors.attempt(lambda: _last_event_s(session), ended_at_s))
    gone_at_s = session.clock() if ended_at_s is None else ended_at_s
    if _settled(session, end, evidence, gone_at_s, interrupts):
        errors.heal()
    errors.attempt(lambda: session.charge_to(gone_at_s), None)
    verdict = errors.attempt(
        lambda: judge(end, session.ledger.events(session.run_id), machine, run_id=session.run_id), None
    )
    left = None if evidence is None or evidence.confirmed else _unconfirmed(session.run_id, evidence)
    if left is not None:
        verdict = Verdict(state=RunState.UNCONFIRMED, error=left)
    if verdict is not None:
        why = None if verdict.error is None else verdict.error.message
        errors.attempt(partial(session.enter, verdict.state, why), None)
    if errors.first is not None or verdict is None:
        if left is not None:
            raise left from errors.first
        # Where the last state could not be written the run may bill for all the ledger knows: it is reconciled again.
        raise errors.first or AssertionError("no verdict without an error")
    return RunOutcome(record=session.ledger.run(session.run_id), exit_code=verdict.exit_code, error=verdict.error)


def _settled(session: Session, end: End, evidence: Evidence | None, gone_at_s: float, interrupts: Interrupts) -> bool:
    """Whether the ledger has all of a run that is down, but its last state."""
    if evidence is not None and not evidence.confirmed:
        return False
    writes = (
        lambda: _enter_teardown(session, end),
        lambda: keep_evidence(session, evidence),
        lambda: store_missing_events(session),
        lambda: session.charge_to(gone_at_s),
    )
    return settle(session, writes, interrupts)


def close_after_error(session: Session, error: BaseException, interrupts: Interrupts) -> None:
    """Take the run down because of an error nobody foresaw; the caller raises it again.

    Raises:
        TeardownUnconfirmedError: from the error: a machine that may still be billed is the worse news.
        StateError: as in `close_run`.
    """
    end = End(reason=EndReason.ERROR, message=str(error) or type(error).__name__)
    outcome = close_run(session, end, interrupts, was_told=False)
    if isinstance(outcome.error, TeardownUnconfirmedError):
        raise outcome.error from error


def release(session: Session) -> None:
    """Say that this process supervises the run no more, so that any process, this one too, may reconcile it."""
    # With a ledger that cannot be written the run is free as soon as this process ends.
    with suppress(StateError):
        session.ledger.release(session.run_id, session.clock())


def store_missing_events(session: Session) -> None:
    """Store what the run's events file, the truth, holds beyond the ledger."""
    last_seq = session.ledger.run(session.run_id).last_seq
    session.take(read_events(session.run_dir / EVENTS_FILE, after_seq=last_seq))


def _last_sign_s(session: Session) -> float | None:
    """When a machine that is gone was last known to be there; what is billed already stays billed."""
    if session.meter is None:
        return None
    events = session.ledger.events(session.run_id)
    told_s = None
    if session.handle is not None and isinstance(session.engine, TellsEnd):
        told_s = session.engine.ended_at_s(session.handle)
    known = [] if told_s is None else [told_s]
    known += session.machine_ends_s()
    return max([session.meter.billed_to_s, *(event.time_s for event in events[-1:]), *known])


def _last_event_s(session: Session) -> float:
    """Unix time of the last event; 0: there is none."""
    events = session.ledger.events(session.run_id)
    return events[-1].time_s if events else 0.0


def _enter_teardown(session: Session, end: End) -> None:
    if session.ledger.state(session.run_id) is not RunState.TEARING_DOWN:
        session.enter(RunState.TEARING_DOWN, end.detail)


def _bring_home(
    session: Session, handle: Handle, errors: _Errors, end: End, interrupts: Interrupts, *, was_told: bool
) -> MachineState:
    """Results and events from a machine that may not answer any more; what it knew of the task.

    In a thread and for a limited time, for until it is through the machine is billed.
    """
    engine = _Errors()
    machine = MachineState.UNKNOWN
    brought: Brought | None = None

    def ask_and_fetch() -> None:
        nonlocal machine, brought
        machine = engine.attempt(lambda: session.engine.status(handle), MachineState.UNKNOWN)
        # An end at once leaves seconds for all that comes home, and its take-down ends the task.
        if not was_told and machine in _AT_WORK and end.reason is not EndReason.STOP_NOW:
            engine.attempt(lambda: session.engine.cancel(handle, grace_s=session.settings.cancel_grace_s), None)
        engine.attempt(lambda: session.engine.fetch(handle), None)
        # A machine that is gone has left in the run's store what it had; one that answered has the same.
        if engine.first is not None:
            brought = engine.attempt(lambda: bring_from_store(session.run_dir), None)

    # Counted before the fetch begins: a signal that comes with its first moment is heeded too.
    signals_before = interrupts.count
    fetch = Background(ask_and_fetch, "fetch")
    gave_up = _wait(session, fetch, end, interrupts, signals_before=signals_before)
    trouble = gave_up or engine.first
    if trouble is not None:
        errors.attempt(lambda: session.note(f"not everything could be fetched: {trouble}"), None)
    if brought is not None and brought.words:
        words = brought.words
        errors.attempt(lambda: session.note(f"brought home: {words}"), None)
    errors.attempt(lambda: store_missing_events(session), None)
    if trouble is not None:
        # Events that came home tell of the last checkpoint.
        errors.attempt(lambda: session.note(left_behind(session, cut_off=gave_up is not None)), None)
    return machine


def _wait(session: Session, fetch: Background, end: End, interrupts: Interrupts, *, signals_before: int) -> str | None:
    """Until the fetch is through; why it was given up otherwise."""
    limit = fetch_limit(session, end.reason)
    asked, heart = StopRequests(session), Heartbeat(session)
    started = time.monotonic()
    while True:
        fetch.join(session.settings.poll_s)
        if fetch.done:
            return None
        heart.tick()
        if interrupts.count > signals_before:
            return "interrupted"
        if end.reason is not EndReason.STOP_NOW and asked.for_now():
            return "an end at once was asked for"
        exceeded = limit.exceeded(session, time.monotonic() - started)
        if exceeded is not None:
            return exceeded


def _take_down(session: Session, handle: Handle, errors: _Errors) -> Evidence:
    """Down and evidence until the provider confirms, or attempts are used up; each answer is stored."""
    settings = session.settings
    for attempt in range(settings.evidence_attempts):
        if attempt > 0:
            time.sleep(settings.evidence_backoff_s * 2 ** (attempt - 1))
        evidence = _ask(session, handle)
        # Told even where it cannot be stored: the screen may be all that is left.
        errors.attempt(partial(session.ledger.add_evidence, session.run_id, evidence), None)
        errors.attempt(partial(session.tell, EvidenceUpdate(run_id=session.run_id, evidence=evidence)), None)
        if evidence.confirmed:
            break
        beat(session)
    return evidence


def _ask(session: Session, handle: Handle) -> Evidence:
    try:
        session.engine.down(handle)
        return session.engine.evidence(handle)
    except Exception as error:  # Whatever went wrong: nothing is confirmed, and that is an answer to keep.
        return Evidence(
            confirmed=False,
            asked_at_s=session.clock(),
            source=f"engine {session.engine.name}",
            answer=f"teardown failed: {error}",
            left=(),
        )


def _unconfirmed(run_id: str, evidence: Evidence) -> TeardownUnconfirmedError:
    left = f" Left: {', '.join(evidence.left)}." if evidence.left else ""
    return TeardownUnconfirmedError(
        f"the end of {run_id} is not confirmed and it MAY STILL BE BILLED: {evidence.answer}.{left}",
        hint=f"Run `tunefare reconcile {run_id}`, and look into the provider's console.",
    )
