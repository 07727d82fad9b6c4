"""What is remembered of a run while it is followed: sums, newest values and thinned curves, never all its events."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from manager.launch.engine import Evidence
from manager.prices.offer import Offer
from manager.reports.timeline import clock_shift_s
from manager.runs.changes import Changes
from manager.runs.charges import charge, given_back_usd
from manager.runs.clients import Client
from manager.runs.projection import Progress
from manager.runs.records import Charge, StateChange
from manager.runs.requote_rows import RequoteRow
from manager.runs.states import FINAL, RunState
from manager.service.live_phases import PhaseClock
from manager.service.live_series import MOST_POINTS, Curve, LiveSeries
from tasks.protocol import Event, EventType

LOSS, TRAINING = "loss", "training"
_SPLITS = (TRAINING, "validation", "test")
_MOST_WARNINGS = 5
_GUARDS = {"dead_man": "DEAD-MAN TIMER", "cap_projected": "GUARD"}
"""Codes of warnings that a guard on money or time gives -> what stands before them."""


class RunDigest:
    """Takes what is new of one run; everything in it is as of the last `take`."""

    def __init__(self, *, most_points: int = MOST_POINTS) -> None:
        self.history: list[StateChange] = []
        self.evidence: Evidence | None = None
        self.failed_attempts: list[str] = []
        self.requotes: list[RequoteRow] = []
        self.preemptions = 0
        self.offer: Offer | None = None
        self.billing_started_at_s: float | None = None
        self.client: Client | None = None
        self.stop_request: str | None = None
        self.last_activity_s = 0.0
        """Unix time of the newest row that a supervising client wrote."""
        self.progress = Progress()
        self.clock = PhaseClock()
        self.warnings: deque[str] = deque(maxlen=_MOST_WARNINGS)
        self.guard_warning: str | None = None
        """The newest that a guard gave."""
        self.device: str | None = None
        self.ending: Event | None = None
        """The event with which the task ended; None while it has not."""
        self.train: dict[str, object] = {}
        """Data of the newest train event."""
        self.latest: dict[str, float] = {}
        """Newest value of each curve, by split and name."""
        self._most_points = most_points
        self._curves: dict[tuple[str, str], Curve] = {}
        self.given_back_usd = Decimal(0)
        """What the launch cost before it had the machine that trains."""
        self._charged: Decimal | None = Decimal(0)
        self._billed_to_s: float | None = None
        self._started_s: float | None = None
        self._last_s: float | None = None

    def take(self, changes: Changes, *, now_s: float) -> None:
        """What is new, in the order of the ledger."""
        self.history += changes.states
        self.failed_attempts += changes.failed_attempts
        self.requotes += changes.requotes
        self.offer, self.billing_started_at_s = changes.offer, changes.billing_started_at_s
        self.client, self.stop_request = changes.client, changes.stop_request
        if changes.evidence:
            self.evidence = changes.evidence[-1]
        for stretch in changes.charges:
            self._take_charge(stretch)
        rows = [change.at_s for change in changes.states] + [stretch.at_s for stretch in changes.charges]
        self.last_activity_s = max([self.last_activity_s, *rows, self.client.at_s if self.client else 0.0])
        for event in changes.events:
            self._take_event(event, now_s)

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return self.history[-1].state

    @property
    def shift_s(self) -> float:
        """Added to event times to bring them to this machine's clock."""
        billing = self.billing_started_at_s
        if billing is None or self._started_s is None or self._last_s is None:
            return 0.0
        running = next((change.at_s for change in self.history if change.state is RunState.RUNNING), billing)
        shift_s = clock_shift_s(
            billing_started_at_s=billing,
            billing_ended_at_s=self._billed_to_s if self.state in FINAL else None,
            running_at_s=running,
            started_s=self._started_s,
            last_s=self._last_s,
        )
        return shift_s or 0.0

    def charged_usd(self) -> Decimal | None:
        """Sum of the charges; None is unknown."""
        return self._charged

    def beyond_charges_usd(self, now_s: float) -> Decimal | None:
        """What the machine costs from the last charge until now; None is unknown."""
        billed_to_s = self._billed_to_s or self.billing_started_at_s
        if billed_to_s is None or self.offer is None:
            return None
        price = self.offer.price_usd_per_hour
        return charge(from_s=billed_to_s, to_s=max(now_s, billed_to_s), price_usd_per_hour=price, at_s=now_s).amount_usd

    def series(self, metric: str) -> tuple[LiveSeries, ...]:
        """All curves: loss, the run's own metric, the others in the order in which they came; training first, test
        last."""
        names = list(dict.fromkeys([LOSS, metric, *(name for name, _ in self._curves)]))
        order = sorted(self._curves, key=lambda key: (names.index(key[0]), _SPLITS.index(key[1])))
        price = None if self.offer is None or not self.offer.price_usd_per_hour else self.offer.price_usd_per_hour
        billing = self.billing_started_at_s
        return tuple(
            LiveSeries(
                name=name,
                split=split,
                points=self._curves[name, split].points(),
                seen=self._curves[name, split].seen,
                billing_started_s=None if billing is None else billing - self.shift_s,
                price_usd_per_hour=None if price is None else float(price),
            )
            for name, split in order
        )

    def _take_charge(self, stretch: Charge) -> None:
        self.given_back_usd += given_back_usd([stretch])
        amount = stretch.amount_usd
        self._charged = None if self._charged is None or amount is None else self._charged + amount
        self._billed_to_s = stretch.to_s

    def _take_event(self, event: Event, now_s: float) -> None:
        self.clock.observe(event)
        data = event.data
        self._last_s = event.time_s
        if event.type is EventType.STARTED:
            self._started_s = event.time_s if self._started_s is None else self._started_s
            self.device, self.ending = str(data["device_name"]), None
        elif event.type is EventType.TRAIN:
            self.train = data
            self._add(LOSS, TRAINING, event, data["loss"])
        elif event.type is EventType.EVALUATION:
            split = str(data["split"])
            self._add(LOSS, split, event, data["loss"])
            for name, value in data["metrics"].items():
                self._add(str(name), split, event, value)
        elif event.type is EventType.WARNING:
            self._warn(str(data.get("code", "")), str(data["message"]))
        elif event.type is EventType.PREEMPTED:
            self.preemptions += 1
        elif event.type in {EventType.FINISHED, EventType.FAILED}:
            self.ending = event
        if event.type in {EventType.TRAIN, EventType.EVALUATION, EventType.FINISHED}:
            # Of events from before this reader began, the time is when they happened, not when they are read.
            self.progress = self.progress.after(event, now_s=min(now_s, event.time_s + self.shift_s))

    def _warn(self, code: str, message: str) -> None:
        """Guards are named: what they say is no remark on the training."""
        self.warnings.append(f"{_GUARDS[code]}: {message}" if code in _GUARDS else message)
        if code in _GUARDS:
            self.guard_warning = self.warnings[-1]

    def _add(self, name: str, split: str, event: Event, value: float | None) -> None:
        if value is None:
            return
        curve = self._curves.get((name, split))
        if curve is None:
            curve = self._curves[name, split] = Curve(most_points=self._most_points)
        curve.add(int(event.data["step"]), event.time_s, float(value))
        self.latest[f"{split} {name}"] = float(value)
