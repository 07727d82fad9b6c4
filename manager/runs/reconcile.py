"""Runs whose client is gone: adopted while the task runs, closed when it has ended; nothing is lost or billed twice.

A run belongs to the client that wrote the last row of `clients`. It is left alone while that process lives, and taken
over by a row that is only written when nobody else was faster.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from manager.errors import EngineError, ExitCode, InternalError, InterruptedRunError, StateError, TunefareError
from manager.launch.engine import Engine, Evidence, MachineState, TellsEnd
from manager.launch.from_store import bring_from_store
from manager.runs.beats import beating
from manager.runs.clients import Client, is_here, this_client
from manager.runs.fetch_limit import planned_fetch_s
from manager.runs.interrupts import Interrupts
from manager.runs.ledger import Ledger
from manager.runs.records import LAUNCH_ATTEMPT, RunRecord
from manager.runs.session import Clock, Meter, Session, SuperviseSettings, Voice, end_times
from manager.runs.states import FINAL, MAY_BILL, RunState
from manager.runs.steady import steady
from manager.runs.teardown import RunOutcome, close_after_error, close_run, store_missing_events
from manager.runs.updates import LogUpdate, OnUpdate, StateUpdate
from manager.runs.verdict import End, EndReason, end_from_history, end_on_request
from manager.runs.watch import watch

_LOCAL = "local"
STOP_WAIT_S = 180.0
"""For a living client to take its run one state further after a stop request; a teardown may take longer."""


class ReconcileAction(StrEnum):
    """What was done about a run."""

    LEFT_ALONE = "left_alone"
    """Its client lives, or another process was faster."""
    ADOPTED = "adopted"
    """The task still ran; it was followed to its end."""
    ENDED = "ended"
    """The task still ran and was ended."""
    CLOSED = "closed"
    """The task had ended; events, charges and evidence were completed."""
    NEVER_LAUNCHED = "never_launched"
    UNREACHABLE = "unreachable"
    """The provider did not say whether the task runs; nothing was done."""
    FAILED = "failed"
    """An error kept it from being reconciled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One run's answer."""

    run_id: str
    action: ReconcileAction
    outcome: RunOutcome | None
    """None where the run was left as it is."""
    error: TunefareError | None = None
    """Why it could not be brought to its end: failed, unreachable, not looked at; None otherwise."""


def reconcile(
    ledger: Ledger,
    engines: Mapping[str, Engine],
    clock: Clock,
    on_update: OnUpdate,
    run_ids: Sequence[str] | None = None,
    end: bool = False,
    settings: SuperviseSettings | None = None,
) -> tuple[Reconciled, ...]:
    """Bring every run that may bill and has no client to its end; one after the other, running tasks last.

    A signal ends the run at hand in good order; the runs behind it are left alone and come back with an
    InterruptedRunError, as a run whose provider does not answer comes back with an EngineError.

    Args:
        ledger: the ledger.
        engines: by name.
        clock: Unix time in seconds.
        on_update: as in `supervise`.
        run_ids: names or unique beginnings; None: all that may bill.
        end: end tasks that still run instead of following them.
        settings: rhythm of supervision.
    """
    wanted = None if run_ids is None else [ledger.resolve(run_id) for run_id in run_ids]
    open_ids = [i for i in ledger.run_ids(MAY_BILL | {RunState.PLANNED}) if wanted is None or i in wanted]
    # A task that runs may take hours; whatever has ended is billed until it is taken down.
    ordered = sorted(open_ids, key=lambda run_id: ledger.state(run_id) is RunState.RUNNING)
    voice = Voice(on_update)
    results = []
    with Interrupts() as interrupts:
        for run_id in ordered:
            if interrupts.count:
                results.append(_left(run_id, ReconcileAction.LEFT_ALONE, _not_looked_at(run_id)))
                continue
            one = _Reconciliation(ledger, engines, clock, voice, settings or SuperviseSettings(), interrupts)
            try:
                results.append(one.run(run_id, end=end))
            except TunefareError as error:
                results.append(_left(run_id, ReconcileAction.FAILED, error))
            except Exception as error:  # Whatever one run's folder or engine has in it: the others are billed too.
                results.append(_left(run_id, ReconcileAction.FAILED, _unforeseen(run_id, error)))
    return tuple(results)


def stop(
    run_id: str,
    ledger: Ledger,
    engines: Mapping[str, Engine],
    clock: Clock,
    on_update: OnUpdate,
    *,
    detail: str = "tunefare stop",
    now: bool = False,
    wait_s: float = STOP_WAIT_S,
    settings: SuperviseSettings | None = None,
) -> RunRecord:
    """End a run from another process: ask its client, or do it here when it has none; `now`: without a checkpoint.

    Returns:
        The run as it stands: final or UNCONFIRMED; or not ended, when its client lives and took it no state further for
        wait_s. A teardown is waited for as long as the client lives. A run that had ended before is returned as it is.
    """
    run_id = ledger.resolve(run_id)
    if ledger.state(run_id) in FINAL:
        return ledger.run(run_id)
    ledger.request_stop(run_id, clock(), detail, now=now)
    seen, deadline = ledger.state(run_id), time.monotonic() + wait_s
    while (state := ledger.state(run_id)) not in FINAL:
        if state is not seen:
            seen, deadline = state, time.monotonic() + wait_s
            on_update(StateUpdate(run_id=run_id, change=ledger.run(run_id).history[-1]))
        if state is not RunState.TEARING_DOWN and time.monotonic() >= deadline:
            break
        if not ledger.client_lives(run_id, clock()):
            results = reconcile(ledger, engines, clock, on_update, [run_id], end=True, settings=settings)
            failed = next((result.error for result in results if result.error is not None), None)
            if failed is not None:
                raise failed
            if any(result.action is not ReconcileAction.LEFT_ALONE for result in results):
                break
        time.sleep(0.3)
    return ledger.run(run_id)


def _left(run_id: str, action: ReconcileAction, error: TunefareError | None = None) -> Reconciled:
    return Reconciled(run_id=run_id, action=action, outcome=None, error=error)


def _not_looked_at(run_id: str) -> InterruptedRunError:
    return InterruptedRunError(
        f"interrupted before {run_id} was looked at; it may still be billed",
        hint=f"Run `tunefare reconcile {run_id}`.",
    )


def _unreachable(run_id: str, why: str | None) -> EngineError:
    return EngineError(
        f"nobody can say whether {run_id} still runs: {why or 'the provider gave no answer'}; it may still be billed",
        hint=f"Run `tunefare reconcile {run_id}` when the provider answers, or with --end to take it down now.",
    )


def _unforeseen(run_id: str, error: Exception) -> InternalError:
    """A defect that kept a run from being reconciled; the exception is its cause."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = InternalError(
        f"{run_id} could not be brought to its end and may still be billed: "
        f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})",
        hint="This is a defect of tunefare, to be reported; `tunefare panic` ends the run meanwhile.",
    )
    told.__cause__ = error
    return told


def _refuse_elsewhere(ledger: Ledger, run_id: str, client: Client | None) -> None:
    """A run of another machine's own engine: from here it would look as if its processes and files were gone."""
    if ledger.is_shared and client is not None and not is_here(client) and ledger.run(run_id).engine == _LOCAL:
        raise StateError(
            f"run {run_id} trains on {client.host} itself, whose tunefare is silent",
            hint=f"Run `tunefare reconcile {run_id}` there, as the user who launched it.",
        )


def _taken_down_s(session: Session, record: RunRecord) -> float | None:
    """When a machine was gone at the latest whose client died while it took it down; None: it had not begun to.

    Nobody tells when that was: it had the time for results and for the take-down, and is gone now.
    """
    begun = [change.at_s for change in record.history if change.state is RunState.TEARING_DOWN]
    if not begun:
        return None
    times = end_times(session.engine.name, session.settings)
    return min(session.clock(), begun[-1] + times.fetch_s + times.teardown_s)


def _complete_events(session: Session) -> None:
    """Store events that tell how long a machine was there which is gone: from its engine, or else the run's store.

    What cannot be had now is tried again, and reported, when the run is closed.
    """
    assert session.handle is not None, "asked only for a run with a handle"
    most_s = max(session.settings.fetch_limit_s, planned_fetch_s(session.plan))
    with beating(session, most_s=most_s):
        try:
            session.engine.fetch(session.handle)
        except Exception:  # Whatever it was: the store may have what the engine did not hand over.
            with suppress(TunefareError):
                bring_from_store(session.run_dir, with_files=False)
    with suppress(TunefareError):
        store_missing_events(session)


class _Reconciliation:
    def __init__(
        self,
        ledger: Ledger,
        engines: Mapping[str, Engine],
        clock: Clock,
        voice: Voice,
        settings: SuperviseSettings,
        interrupts: Interrupts,
    ) -> None:
        self._ledger = ledger
        self._engines = engines
        self._clock = clock
        self._voice = voice
        self._settings = settings
        self._interrupts = interrupts
        self._run_id = ""

    def run(self, run_id: str, *, end: bool) -> Reconciled:
        ledger, self._run_id = self._ledger, run_id
        client, now_s = ledger.client(run_id), self._clock()
        if ledger.client_lives(run_id, now_s):
            return _left(run_id, ReconcileAction.LEFT_ALONE)
        _refuse_elsewhere(ledger, run_id, client)
        if not ledger.claim(run_id, this_client(now_s), instead_of=client):
            return _left(run_id, ReconcileAction.LEFT_ALONE)
        try:
            # What an earlier supervision could not write is written here, before anything is judged.
            self._ledger = steady(ledger, run_id, ledger.run(run_id).run_dir, self._note)
            record = self._ledger.run(run_id)
            found = self._bring_to_end(self._session(record), record, end=end)
        finally:
            # As `teardown.release`, also where there is no session yet.
            with suppress(StateError):
                self._ledger.release(run_id, self._clock())
        self._ledger.settle()
        return found

    def _note(self, text: str) -> None:
        self._voice(LogUpdate(run_id=self._run_id, text=text, source="manager"))

    def _bring_to_end(self, session: Session, record: RunRecord, *, end: bool) -> Reconciled:
        run_id = record.run_id
        if record.state is RunState.PLANNED:
            session.enter(RunState.INTERRUPTED, "the client was gone before the launch")
            return _left(run_id, ReconcileAction.NEVER_LAUNCHED)
        if record.state in FINAL:
            outcome = RunOutcome(record=record, exit_code=ExitCode.DONE, error=None)
            return Reconciled(run_id=run_id, action=ReconcileAction.CLOSED, outcome=outcome)
        if record.state in {RunState.RUNNING, RunState.STOPPING} and session.handle is not None:
            machine, silence = self._machine(session)
            if machine in {MachineState.STARTING, MachineState.RUNNING}:
                return self._follow(session, record, end=end)
            if machine is MachineState.UNKNOWN and not end:
                return _left(run_id, ReconcileAction.UNREACHABLE, _unreachable(run_id, silence))
        return self._close(session, record)

    def _session(self, record: RunRecord) -> Session:
        engine = self._engines.get(record.engine)
        if engine is None:
            raise StateError(
                f"run {record.run_id} was launched by engine {record.engine}, which is not at hand",
                hint=f"Install the extra that brings it: tunefare[{record.engine}].",
            )
        session = Session.resume(
            record,
            engine=engine,
            ledger=self._ledger,
            clock=self._clock,
            tell=self._voice,
            settings=self._settings,
        )
        if session.meter is None and record.state is not RunState.PLANNED:
            session.meter = self._attempt_meter(record)
        return session

    def _attempt_meter(self, record: RunRecord) -> Meter:
        """The launch may have gone through before its client died; which offer was taken is known for one engine."""
        local = record.engine == "local" and record.plan.choice is not None
        return Meter(
            self._ledger,
            record.run_id,
            price_usd_per_hour=record.plan.choice.offer.price_usd_per_hour if local and record.plan.choice else None,
            billing_started_at_s=next(c.at_s for c in record.history if c.state is RunState.LAUNCHING),
            charges=record.charges,
            what=LAUNCH_ATTEMPT,
        )

    def _machine(self, session: Session) -> tuple[MachineState, str | None]:
        """What the engine knows, or UNKNOWN and why."""
        assert session.handle is not None, "asked only for a run with a handle"
        try:
            return session.engine.status(session.handle), None
        except EngineError as error:
            session.note(f"the engine does not answer: {error.message}")
            return MachineState.UNKNOWN, error.message

    def _follow(self, session: Session, record: RunRecord, *, end: bool) -> Reconciled:
        wanted = self._wanted_end(record, end=end)
        try:
            reason = watch(session, self._interrupts, end=wanted)
        except EngineError as error:
            reason = End(reason=EndReason.ENGINE_FAILED, message=error.message, hint=error.hint)
        except BaseException as error:
            # As in `supervise`: whatever happened, the task is taken down before the error goes on.
            close_after_error(session, error, self._interrupts)
            raise
        action = ReconcileAction.ADOPTED if wanted is None else ReconcileAction.ENDED
        outcome = close_run(session, reason, self._interrupts, was_told=reason.is_known_to_task)
        return Reconciled(run_id=record.run_id, action=action, outcome=outcome)

    def _wanted_end(self, record: RunRecord, *, end: bool) -> End | None:
        request = self._ledger.stop_request(record.run_id)
        if request is not None and request.now:
            return end_on_request(request)
        if record.state is RunState.STOPPING:
            return end_from_history(record.history)
        if request is not None:
            return end_on_request(request)
        return End(reason=EndReason.CLIENT_GONE) if end else None

    def _close(self, session: Session, record: RunRecord) -> Reconciled:
        end = end_from_history(record.history)
        request = self._ledger.stop_request(record.run_id)
        if request is not None and end.reason is EndReason.CLIENT_GONE:
            end = end_on_request(request)
        ended_at_s = self._ended_at_s(session, record)
        outcome = close_run(session, end, self._interrupts, ended_at_s=ended_at_s, was_told=False)
        return Reconciled(run_id=record.run_id, action=ReconcileAction.CLOSED, outcome=outcome)

    def _ended_at_s(self, session: Session, record: RunRecord) -> float | None:
        """Last sign of life of a machine that is gone already; None while it is there, for then it is billed."""
        if session.handle is None:
            return None
        told_s = session.engine.ended_at_s(session.handle) if isinstance(session.engine, TellsEnd) else None
        if told_s is None and not self._gone(session):
            return None
        _complete_events(session)
        events = self._ledger.events(record.run_id)
        seen = [answer.asked_at_s for answer in record.evidence if answer.left]
        billed_to_s = session.meter.billed_to_s if session.meter is not None else record.created_at_s
        # A client that was killed at once has charged nothing, and the machine was there all the same.
        known = [change.at_s for change in record.history if change.state is RunState.RUNNING]
        known += [_taken_down_s(session, record) or billed_to_s] if told_s is None else [told_s]
        known += session.machine_ends_s()
        return max([billed_to_s, *(event.time_s for event in events[-1:]), *seen, *known])

    def _gone(self, session: Session) -> bool:
        assert session.handle is not None, "asked only for a run with a handle"
        try:
            evidence: Evidence = session.engine.evidence(session.handle)
        except EngineError:
            return False
        return evidence.confirmed
