"""What the parts of one supervision share: the run, its engine, its ledger, who listens, and the meter of its bill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from manager.launch.engine import Engine, Handle
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.runs.beside import beside_usd
from manager.runs.charges import charge
from manager.runs.ledger import Ledger, MissingEventsError
from manager.runs.projection import Progress, project_hours, project_usd
from manager.runs.records import Charge, RunRecord, StateChange, total_usd
from manager.runs.states import RunState
from manager.runs.updates import ChargeUpdate, EventUpdate, LogUpdate, OnUpdate, StateUpdate, Update
from manager.units import MoneyInterval
from tasks.protocol import Event

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
    duration_margin_s: float = 10.0
    """The task keeps its longest duration itself; supervision steps in this much later."""
    fetch_limit_s: float = 600.0
    """For the results to come home before the machine is taken down without them; longer where the plan says so."""
    fetch_limit_short_s: float = 120.0
    """The same where the run is over its cap or its longest duration, or the user interrupted it."""
    fetch_limit_now_s: float = 20.0
    """The same where an end at once was asked for: enough for events and log."""
    evidence_attempts: int = 5
    evidence_backoff_s: float = 2.0
    """Before the second attempt; doubles with each."""


_LONGEST = "max_duration_s"


def with_longest_duration(handle: Handle, max_duration_s: float | None) -> Handle:
    """The handle with the limit of the launch among its details, so that whoever adopts the run keeps it."""
    return replace(handle, details={**handle.details, _LONGEST: max_duration_s})


def longest_duration_s(handle: Handle | None) -> float | None:
    """Limit of the launch in seconds since the start of billing; None: none."""
    value = None if handle is None else handle.details.get(_LONGEST)
    return None if value is None else float(value)


class Voice:
    """Passes updates on; a listener that failed once is not asked again, so that it cannot break a teardown."""

    def __init__(self, on_update: OnUpdate) -> None:
        self._on_update = on_update
        self._broken = False

    def __call__(self, update: Update) -> None:
        """Tell the listener; its first error passes through (a closed pipe ends the run in good order)."""
        if self._broken:
            return
        try:
            self._on_update(update)
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

    def charge_to(self, to_s: float, *, now_s: float) -> Charge | None:
        """Store the stretch up to to_s; None when the bill already reaches it."""
        if to_s <= self.billed_to_s:
            return None
        stretch = charge(
            from_s=self.billed_to_s,
            to_s=to_s,
            price_usd_per_hour=self.price_usd_per_hour,
            at_s=now_s,
            what=self._what,
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
        change = StateChange(state=state, at_s=self.clock(), detail=detail)
        self.ledger.transition(self.run_id, state, change.at_s, detail)
        self.tell(StateUpdate(run_id=self.run_id, change=change))

    def charge_to(self, to_s: float) -> None:
        """Store the charge up to to_s and tell; nothing before the launch."""
        stretch = self.meter.charge_to(to_s, now_s=self.clock()) if self.meter is not None else None
        if stretch is not None and self.meter is not None:
            cost = self.meter.cost_usd()
            update = ChargeUpdate(run_id=self.run_id, charge=stretch, cost_usd=cost, projected_usd=self.projected_usd())
            self.tell(update)

    def take(self, events: Iterable[Event]) -> None:
        """Store events, then tell each that is new; also those before a gap, which is raised after that."""
        try:
            new = self.ledger.append_events(self.run_id, events)
        except MissingEventsError as error:
            self._tell_events(error.stored)
            raise
        self._tell_events(new)

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
        return project_usd(hours, self.meter.price_usd_per_hour)

    def beside_usd(self, now_s: float) -> Decimal:
        """What the plan counts besides the machine up to now (`manager.runs.beside`); nothing before the launch."""
        if self.meter is None or self.offer is None:
            return Decimal(0)
        return beside_usd(self.plan, self.offer, now_s - self.meter.billing_started_at_s)

    def note(self, text: str) -> None:
        """Say something in supervision's own voice."""
        self.tell(LogUpdate(run_id=self.run_id, text=text, source="manager"))
