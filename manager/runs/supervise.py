"""One run from its reservation to its final state, in the process that the user started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal

from manager.errors import EngineError, InterruptedRunError, NothingFitsError, StateError
from manager.launch.engine import Engine, LaunchRequest, TellsGivenBack
from manager.planner.plan import Plan
from manager.runs.beats import beating
from manager.runs.clients import this_client
from manager.runs.interrupts import Interrupts
from manager.runs.ledger import Ledger
from manager.runs.machine_pieces import NO_MACHINE, pieces
from manager.runs.records import LAUNCH_ATTEMPT, Charge, StateChange
from manager.runs.requote import Ask
from manager.runs.session import Clock, Meter, Session, SuperviseSettings, Voice, with_limits
from manager.runs.states import RunState
from manager.runs.steady import steady
from manager.runs.teardown import RunOutcome, close_after_error, close_run, release
from manager.runs.updates import ChargeUpdate, OnUpdate, StateUpdate
from manager.runs.verdict import End, EndReason, end_on_request
from manager.runs.watch import watch

__all__ = ["RunOrder", "RunOutcome", "SuperviseSettings", "supervise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """What was confirmed by the user."""

    request: LaunchRequest
    plan: Plan
    cap_usd: Decimal | None
    """None: no cap."""
    user: str | None = None
    """Who launches it; None: nobody knows."""
    ask: Ask | None = None
    """Puts questions to somebody at a terminal while the run goes on; None: nobody is there."""


def supervise(
    run: RunOrder,
    engine: Engine,
    ledger: Ledger,
    clock: Clock,
    on_update: OnUpdate,
    settings: SuperviseSettings | None = None,
) -> RunOutcome:
    """Launch the run, follow it, take it down, and prove that it is gone, whatever happens in between.

    A first Ctrl-C or SIGTERM lets the trainer save a checkpoint, a second one does not wait for it, one more not
    for the results; none skips the teardown. Signals are heeded when this runs in the main thread; otherwise use a stop
    request.

    Raises:
        StateError: the ledger cannot be used; what had been started was taken down.
    """
    request = run.request
    session = Session(
        run_id=request.run_id,
        run_dir=request.run_dir,
        plan=run.plan,
        cap_usd=run.cap_usd,
        max_duration_s=request.max_duration_s,
        engine=engine,
        ledger=ledger,
        clock=clock,
        tell=Voice(on_update),
        settings=settings or SuperviseSettings(),
        ask=run.ask,
    )
    with Interrupts() as interrupts:
        _create(session, run)
        if interrupts.count:
            return _leave_before_launch(session)
        try:
            outcome = _launch_to_end(session, request, interrupts)
        finally:
            release(session)
        session.ledger.settle()
        return outcome


def _create(session: Session, run: RunOrder) -> None:
    """The run with its reserved handle, stored before anything can cost money."""
    now_s = session.clock()
    ledger, request = session.ledger, run.request
    ledger.create_run(
        request.run_id,
        run.plan,
        request.run_dir,
        session.engine.name,
        run.cap_usd,
        now_s,
        this_client(now_s),
        run.user,
    )
    ledger = session.ledger = steady(ledger, request.run_id, request.run_dir, session.note)
    planned = StateChange(state=RunState.PLANNED, at_s=now_s, detail=None)
    try:
        session.tell(StateUpdate(run_id=request.run_id, change=planned))
        session.handle = with_limits(session.engine.reserve(request), request)
        ledger.store_handle(request.run_id, session.handle, session.clock())
    except BaseException as error:
        ledger.transition(request.run_id, RunState.INTERRUPTED, session.clock(), f"before the launch: {error}")
        raise


def _leave_before_launch(session: Session) -> RunOutcome:
    error = InterruptedRunError("interrupted before the launch; nothing was started")
    session.enter(RunState.INTERRUPTED, error.message)
    return RunOutcome(record=session.ledger.run(session.run_id), exit_code=error.exit_code, error=error)


def _launch_to_end(session: Session, request: LaunchRequest, interrupts: Interrupts) -> RunOutcome:
    started_at_s = session.clock()
    try:
        end = _end_of_launch(session, request, interrupts)
    except BaseException as error:
        # Also a bug or a full disk ends what was started; then the error goes on to whoever asked.
        _meter_attempt(session, request, started_at_s)
        close_after_error(session, error, interrupts)
        raise
    if end.reason is not EndReason.NO_CAPACITY:
        _meter_attempt(session, request, started_at_s)
    return close_run(session, end, interrupts, was_told=end.is_known_to_task)


def _end_of_launch(session: Session, request: LaunchRequest, interrupts: Interrupts) -> End:
    try:
        return _launch_and_watch(session, request, interrupts)
    except NothingFitsError as error:
        session.ledger.add_failed_attempts(session.run_id, [error.message], session.clock())
        _charge_given_back(session)
        return End(reason=EndReason.NO_CAPACITY, message=error.message, hint=error.hint)
    except EngineError as error:
        return End(reason=EndReason.ENGINE_FAILED, message=error.message, hint=error.hint)
    except KeyboardInterrupt:
        asked = session.ledger.stop_request(session.run_id)
        return End(reason=EndReason.INTERRUPTED) if asked is None else end_on_request(asked)


def _launch_and_watch(session: Session, request: LaunchRequest, interrupts: Interrupts) -> End:
    assert session.handle is not None, "reserved before the launch"
    session.enter(RunState.LAUNCHING)
    if (left := session.tell.left) is not None:
        return End(reason=EndReason.INTERRUPTED, message=left.message, hint=left.hint)
    alive = beating(session, most_s=request.launch_timeout_s)
    with alive, _stoppable(session, interrupts), interrupts.raising():
        launched = session.engine.submit(request, session.handle)
    launched = replace(launched, handle=with_limits(launched.handle, request))
    session.handle = launched.handle
    session.offer = launched.offer
    session.meter = Meter(
        session.ledger,
        session.run_id,
        price_usd_per_hour=launched.offer.price_usd_per_hour,
        billing_started_at_s=launched.billing_started_at_s,
        charges=_charge_given_back(session, launched.billing_started_at_s),
    )
    session.ledger.store_launched(session.run_id, launched, session.clock())
    session.enter(RunState.RUNNING, launched.offer.key)
    return watch(session, interrupts)


def _charge_given_back(session: Session, until_s: float | None = None) -> tuple[Charge, ...]:
    """Bill what the launch had and gave back before the task began; the charges of the run, which are its first.

    Called again it goes on where the bill stands.

    Args:
        session: of the launch.
        until_s: start of billing of the machine that trains, up to which the bill shall reach; None: there is none.
    """
    if not isinstance(session.engine, TellsGivenBack) or session.handle is None:
        return ()
    machines = session.engine.given_back(session.handle)
    if not machines:
        # The ordinary launch: nothing is charged yet, and the ledger need not be asked.
        return ()
    ended_s = max(one.from_s if one.to_s is None else one.to_s for one in machines)
    meter = Meter(
        session.ledger,
        session.run_id,
        price_usd_per_hour=None,
        billing_started_at_s=machines[0].from_s,
        charges=session.ledger.run(session.run_id).charges,
    )
    for piece in pieces(machines, from_s=meter.billed_to_s, to_s=ended_s if until_s is None else until_s):
        named = piece if piece.what == NO_MACHINE else replace(piece, what=LAUNCH_ATTEMPT)
        stretch = meter.charge_to(piece.to_s, now_s=session.clock(), piece=named)
        if stretch is not None:
            cost = meter.cost_usd()
            session.tell(ChargeUpdate(run_id=session.run_id, charge=stretch, cost_usd=cost, projected_usd=None))
    return session.ledger.run(session.run_id).charges


def _meter_attempt(session: Session, request: LaunchRequest, started_at_s: float) -> None:
    """A launch that broke may have been billed: at the offer's price when there was one offer, else nobody knows.

    Machines that it had given back before are known.
    """
    if session.meter is None:
        prices = {offer.price_usd_per_hour for offer in request.offers}
        session.meter = Meter(
            session.ledger,
            session.run_id,
            price_usd_per_hour=prices.pop() if len(prices) == 1 else None,
            billing_started_at_s=started_at_s,
            charges=_charge_given_back(session),
            what=LAUNCH_ATTEMPT,
        )


@contextmanager
def _stoppable(session: Session, interrupts: Interrupts) -> Iterator[None]:
    """While a launch blocks the main thread, let a stop request interrupt it like Ctrl-C."""
    if not interrupts.active:
        yield
        return
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None, "the main thread runs"

    def look() -> None:
        while not done.wait(session.settings.stop_poll_s):
            # A ledger that cannot be asked is met, and reported, by the thread that supervises; here it is opened and
            # asked again, for a lock or a server that was away for a moment must not make a whole launch deaf.
            with suppress(StateError), session.ledger.reopen() as ledger:
                while ledger.stop_request(session.run_id) is None:
                    if done.wait(session.settings.stop_poll_s):
                        return
                signal.pthread_kill(main, signal.SIGINT)
                return

    thread = threading.Thread(target=look, name="stop-requests", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
