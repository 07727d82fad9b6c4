"""What the parts of one supervision share: the run, its engine, its ledger, who listens, and the meter of its bill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from manager.errors import InterruptedRunError
from manager.launch.engine import Engine, GuardName, Handle, LaunchRequest, MachineTimes, TellsMachines
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.runs.beside import beside_usd
from manager.runs.charges import charge, given_back_usd
from manager.runs.home_guard import EndTimes, HomeLimit, home_limit, teardown_s
from manager.runs.ledger import Ledger, MissingEventsError
from manager.runs.machine_pieces import NO_MACHINE, Piece, limit_price, pieces
from manager.runs.projection import Progress, project_hours, project_usd
from manager.runs.records import LAUNCH_ATTEMPT, Charge, RunRecord, StateChange, total_usd
from manager.runs.requote import Ask
from manager.runs.states import RunState
from manager.runs.updates import ChargeUpdate, EventUpdate, LogUpdate, OnUpdate, StateUpdate, Update
from manager.units import SECONDS_PER_HOUR, MoneyInterval
from tasks.protocol import Event
from tasks.redaction import Redactor, own_redactor

Clock = Callable[[], float]
"""Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperviseSettings:
    """Rhythm and patience of supervision, all in seconds."""

    poll_s: float = 0.2
    event_batch_s: float = 1.0
    """Oldest event that waits to be stored."""
    charge_interval_s: float = 30.0
    stop_poll_s: float = 1.0
    """Between two looks for stop requests."""
    cancel_grace_s: float = 60.0
    """For the trainer to save a checkpoint after SIGTERM."""
    cancel_margin_s: float = 15.0
    """Beyond the grace, before the stream is given up and the machine taken down."""
    kill_patience_s: float = 5.0
    """For the task to vanish where an end at once was asked for, before the machine is taken down."""
    hang_s: float | None = None
    """Longest time without progress of a task on this machine; None: for ever."""
    store_patience_s: float = 30.0
    """For a ledger that cannot be written (full disk, lock) to take the end of a run that is down already."""
    fetch_limit_s: float = 600.0
    """For the results to come home before the machine is taken down without them; longer where the plan says so."""
    fetch_limit_short_s: float = 120.0
    """The same where the run is over its cap or its longest duration, or the user interrupted it."""
    fetch_limit_now_s: float = 20.0
    """The same where an end at once was asked for: enough for events and log."""
    requote_answer_s: float = 120.0
    """For somebody to answer whether a run goes on whose probe exceeds its quote."""
    evidence_attempts: int = 5
    evidence_backoff_s: float = 2.0
    """Before the second attempt; doubles with each."""


_LONGEST = "max_duration_s"
_HOME = "home_guard"


def with_limits(handle: Handle, request: LaunchRequest) -> Handle:
    """The handle with the limits of the launch among its details, so that whoever adopts the run keeps them."""
    kept = {_LONGEST: request.max_duration_s, _HOME: GuardName.HOME in request.guards}
    return replace(handle, details={**handle.details, **kept})


def keeps_limits(handle: Handle | None) -> bool:
    """Whether the process at home keeps cap and duration; a drill takes this guard away."""
    return handle is None or bool(handle.details.get(_HOME, True))


def longest_duration_s(handle: Handle | None) -> float | None:
    """Limit of the launch in seconds since the start of billing; None: none."""
    value = None if handle is None else handle.details.get(_LONGEST)
    return None if value is None else float(value)


def end_times(engine: str, settings: SuperviseSettings) -> EndTimes:
    """What an end in good order takes on this engine, where there is time for it."""
    # Where the task runs here nothing has to come home.
    fetch_s = 0.0 if engine == "local" else settings.fetch_limit_short_s
    return EndTimes(teardown_s=teardown_s(engine), fetch_s=fetch_s, grace_s=settings.cancel_grace_s)


def limit_of(record: RunRecord, settings: SuperviseSettings) -> HomeLimit | None:
    """The first of a run's cap and longest duration, for whoever does not supervise it; None as `Session.limit`."""
    if record.offer is None or record.billing_started_at_s is None or not keeps_limits(record.handle):
        return None
    return _limit(
        record.plan,
        record.offer,
        record.handle,
        billing_started_at_s=record.billing_started_at_s,
        cap_usd=_cap_left(record.cap_usd, given_back_usd(record.charges)),
        longest_s=longest_duration_s(record.handle),
        times=end_times(record.engine, settings),
    )


def _cap_left(cap_usd: Decimal | None, spent_usd: Decimal) -> Decimal | None:
    return None if cap_usd is None else max(Decimal(0), cap_usd - spent_usd)


def _limit(
    plan: Plan,
    offer: Offer,
    handle: Handle | None,
    *,
    billing_started_at_s: float,
    cap_usd: Decimal | None,
    longest_s: float | None,
    times: EndTimes,
) -> HomeLimit | None:
    price, once = limit_price(handle, offer), beside_usd(plan, offer, 0.0)
    hourly = beside_usd(plan, offer, SECONDS_PER_HOUR) - once
    return home_limit(
        billing_started_at_s=billing_started_at_s,
        cap_usd=cap_usd,
        usd_per_hour=None if price is None else price + hourly,
        usd_once=once,
        longest_s=longest_s,
        times=times,
    )


class Voice:
    """Passes updates on; a listener that failed once is not asked again, so that it cannot break a teardown."""

    def __init__(self, on_update: OnUpdate) -> None:
        self._on_update = on_update
        self._broken = False
        self.left: InterruptedRunError | None = None
        """What the listener said when it left; None: it has not."""

    def __call__(self, update: Update) -> None:
        """Tell the listener; one that leaves (a closed terminal) is noted, any other first error passes through."""
        if self._broken:
            return
        try:
            self._on_update(update)
        except InterruptedRunError as error:
            # Raised here it would tear supervision out of a step that saves a checkpoint or takes a machine down.
            self._broken = True
            self.left = error
        except BaseException:
            self._broken = True
            raise


class Meter:
    """The bill of a run that was launched: stretches that touch, from the start of billing."""

    def __init__(
        self,
        ledger: Ledger,
        run_id: str,
        *,
        price_usd_per_hour: Decimal | None,
        billing_started_at_s: float,
        charges: tuple[Charge, ...] = (),
        what: str = "machine",
    ) -> None:
        self.price_usd_per_hour = price_usd_per_hour
        self.billing_started_at_s = billing_started_at_s
        self._ledger = ledger
        self._run_id = run_id
        self._what = what
        self._charges = list(charges)

    @property
    def billed_to_s(self) -> float:
        """End of the last stretch."""
        return self._charges[-1].to_s if self._charges else self.billing_started_at_s

    @property
    def given_back_usd(self) -> Decimal:
        """Of the charges; see `manager.runs.charges.given_back_usd`."""
        return given_back_usd(self._charges)

    def charge_to(self, to_s: float, *, now_s: float, piece: Piece | None = None) -> Charge | None:
        """Store the stretch up to to_s; None when the bill already reaches it.

        Args:
            to_s: Unix time.
            now_s: Unix time.
            piece: price and name of the stretch, where the run has several machines; None: as the launch said.
        """
        if to_s <= self.billed_to_s:
            return None
        price = self.price_usd_per_hour if piece is None else piece.price_usd_per_hour
        if piece is None or piece.what != NO_MACHINE:
            # What is ahead costs as the last machine did: between two of them nothing is billed, but that passes.
            self.price_usd_per_hour = price
        stretch = charge(
            from_s=self.billed_to_s,
            to_s=to_s,
            price_usd_per_hour=price,
            at_s=now_s,
            what=self._what if piece is None else piece.what,
        )
        self._ledger.add_charge(self._run_id, stretch)
        self._charges.append(stretch)
        return stretch

    def cost_usd(self, now_s: float | None = None) -> Decimal | None:
        """Sum of the charges, with now_s as if it were charged until then; None is unknown."""
        charges = list(self._charges)
        if now_s is not None and now_s > self.billed_to_s:
            price = self.price_usd_per_hour
            charges.append(charge(from_s=self.billed_to_s, to_s=now_s, price_usd_per_hour=price, at_s=now_s))
        return total_usd(charges)


@dataclass(kw_only=True)
class Session:
    """One supervision of one run."""

    run_id: str
    run_dir: Path
    plan: Plan
    cap_usd: Decimal | None
    max_duration_s: float | None
    """Since the start of billing; None: no limit at home (the engine still keeps its own)."""
    engine: Engine
    ledger: Ledger
    clock: Clock
    tell: Voice
    settings: SuperviseSettings
    handle: Handle | None = None
    meter: Meter | None = None
    """None before the launch succeeded."""
    offer: Offer | None = None
    """That was taken; None before the launch succeeded."""
    progress: Progress = field(default_factory=Progress)
    ask: Ask | None = None
    """Puts questions to somebody at a terminal; None: nobody is there."""
    redactor: Redactor = field(default_factory=own_redactor, repr=False)
    """Of all that is stored or told."""

    @classmethod
    def resume(
        cls,
        record: RunRecord,
        *,
        engine: Engine,
        ledger: Ledger,
        clock: Clock,
        tell: Voice,
        settings: SuperviseSettings,
    ) -> Session:
        """The session of a run whose client is gone, as the ledger knows it."""
        session = cls(
            run_id=record.run_id,
            run_dir=record.run_dir,
            plan=record.plan,
            cap_usd=record.cap_usd,
            max_duration_s=longest_duration_s(record.handle),
            engine=engine,
            ledger=ledger,
            clock=clock,
            tell=tell,
            settings=settings,
            handle=record.handle,
        )
        if record.billing_started_at_s is not None and record.offer is not None:
            session.offer = record.offer
            session.meter = Meter(
                ledger,
                record.run_id,
                price_usd_per_hour=record.offer.price_usd_per_hour,
                billing_started_at_s=record.billing_started_at_s,
                charges=record.charges,
            )
        for event in ledger.events(record.run_id):
            session.observe(event)
        return session

    def enter(self, state: RunState, detail: str | None = None) -> None:
        """Store a state change, then tell."""
        detail = None if detail is None else self.redactor.text(detail)
        change = StateChange(state=state, at_s=self.clock(), detail=detail)
        self.ledger.transition(self.run_id, state, change.at_s, detail)
        self.tell(StateUpdate(run_id=self.run_id, change=change))

    def charge_to(self, to_s: float) -> None:
        """Store the charge up to to_s and tell; nothing before the launch.

        Where the run may have several machines, those that are known are charged one by one; while it runs, only up to
        the time of which nothing changes any more.
        """
        if self.meter is None:
            return
        times = self._machine_times()
        if times is None:
            self._tell_charge(self.meter.charge_to(to_s, now_s=self.clock()))
            return
        for piece in pieces(times.machines, from_s=self.meter.billed_to_s, to_s=min(to_s, times.known_to_s)):
            # A launch that never came through has no offer.
            attempt = self.offer is None and piece.what != NO_MACHINE
            named = replace(piece, what=LAUNCH_ATTEMPT) if attempt else piece
            self._tell_charge(self.meter.charge_to(piece.to_s, now_s=self.clock(), piece=named))

    def machine_ends_s(self) -> list[float]:
        """Unix times at which machines ended, where the engine tells of them one by one."""
        times = self._machine_times()
        return [] if times is None else [one.to_s for one in times.machines if one.to_s is not None]

    def _machine_times(self) -> MachineTimes | None:
        if not isinstance(self.engine, TellsMachines) or self.handle is None:
            return None
        return self.engine.machines(self.handle)

    def _tell_charge(self, stretch: Charge | None) -> None:
        if stretch is not None and self.meter is not None:
            cost = self.meter.cost_usd()
            update = ChargeUpdate(run_id=self.run_id, charge=stretch, cost_usd=cost, projected_usd=self.projected_usd())
            self.tell(update)

    def take(self, events: Iterable[Event]) -> None:
        """Store events, then tell each that is new; also those before a gap, which is raised after that."""
        try:
            new = self.ledger.append_events(self.run_id, map(self._redacted, events))
        except MissingEventsError as error:
            self._tell_events(error.stored)
            raise
        self._tell_events(new)

    def _redacted(self, event: Event) -> Event:
        return replace(event, data=self.redactor.data(event.data))

    def _tell_events(self, events: Iterable[Event]) -> None:
        for event in events:
            self.observe(event)
            cost = None if self.meter is None else self.meter.cost_usd(self.clock())
            projected = self.projected_usd()
            self.tell(EventUpdate(run_id=self.run_id, event=event, cost_usd=cost, projected_usd=projected))

    def observe(self, event: Event) -> None:
        """Follow the run's progress."""
        self.progress = self.progress.after(event, now_s=self.clock())

    def projected_usd(self) -> MoneyInterval | None:
        """Final cost of the task as of now; None when it cannot be told yet."""
        if self.meter is None:
            return None
        hours = project_hours(
            self.progress,
            self.plan.profile,
            billing_started_at_s=self.meter.billing_started_at_s,
            now_s=self.clock(),
            may_end_early=self.plan.spec.may_end_early,
        )
        return project_usd(hours, self.meter.price_usd_per_hour, before_usd=self.meter.given_back_usd)

    def beside_usd(self, now_s: float) -> Decimal:
        """What the plan counts besides the machine up to now (`manager.runs.beside`); nothing before the launch."""
        if self.meter is None or self.offer is None:
            return Decimal(0)
        return beside_usd(self.plan, self.offer, now_s - self.meter.billing_started_at_s)

    def cap_left_usd(self) -> Decimal | None:
        """Of the cap, what the machine that trains may cost; None: no cap."""
        return _cap_left(self.cap_usd, Decimal(0) if self.meter is None else self.meter.given_back_usd)

    def limit(self) -> HomeLimit | None:
        """The first of cap and longest duration; None: there is none, it cannot be told yet, or is not kept here."""
        if self.meter is None or self.offer is None or not keeps_limits(self.handle):
            return None
        return _limit(
            self.plan,
            self.offer,
            self.handle,
            billing_started_at_s=self.meter.billing_started_at_s,
            cap_usd=self.cap_left_usd(),
            longest_s=self.max_duration_s,
            times=end_times(self.engine.name, self.settings),
        )

    def note(self, text: str) -> None:
        """Say something in supervision's own voice."""
        self.tell(LogUpdate(run_id=self.run_id, text=self.redactor.text(text), source="manager"))
