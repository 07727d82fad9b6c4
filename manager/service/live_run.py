"""A run at one moment, as far as it can be told: what a screen draws and `show --live` prints. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from manager.launch.engine import Evidence
from manager.prices.offer import Offer
from manager.runs.records import StateChange
from manager.runs.states import RunState
from manager.service.live_phases import LivePhase, PhaseState
from manager.service.live_requote import LiveRequote
from manager.service.live_series import Axis, LiveSeries
from manager.units import Interval, MoneyInterval

LIVE_JSON_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that may cost money and that nobody looks after; the loudest message there is."""

    text: str
    commands: tuple[str, ...]
    """What to type, the first one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveError:
    """Why a run ended without being through."""

    message: str
    hint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """What is known of a run now."""

    run_id: str
    name: str
    polled_at_s: float
    """Unix time, this machine's clock."""
    state: RunState
    state_detail: str | None
    history: tuple[StateChange, ...]
    may_bill: bool
    is_over: bool
    """Whether the state is a final one."""
    has_client: bool
    """Whether a process supervises it."""
    stop_asked: str | None
    """Why it shall end; None: nobody asked."""
    created_at_s: float
    model: str
    task: str
    method: str
    offer: Offer | None
    """The machine taken; None before the launch succeeded."""
    device: str | None
    """As the task names it; None before it started."""
    failed_attempts: tuple[str, ...]
    """Offers without capacity."""
    phases: tuple[LivePhase, ...]
    step: int
    """Optimizer steps done."""
    steps: int
    """As planned."""
    epoch: float | None
    series: tuple[LiveSeries, ...]
    """Loss first, then the run's own metric, then others."""
    metric: str
    """The run's own."""
    speed: float | None
    """Of the last steps, in `speed_unit`; None before the first."""
    speed_unit: str
    """`tokens/s`, `images/s` ..."""
    peak_memory_bytes: int | None
    """Most that the device's allocator held (the process, on a CPU); None: not told."""
    device_memory_bytes: int | None
    """Of one device, by the offer; None: unknown."""
    utilization_percent: float | None
    """Share of the last moment in which the device was busy; None: not told."""
    cost_usd: Decimal | None
    """Machine time up to now at the launch price; None: unknown, as the price or the machine is not known yet."""
    beside_usd: Decimal
    """Disks, addresses and traffic home up to now as planned, at the high end; the cap holds them too."""
    unconfirmed_usd: Decimal | None
    """What a machine whose end is not confirmed may have cost beyond `cost_usd` until now; None: nothing such, or
    unknown."""
    price_usd_per_hour: Decimal | None
    cap_usd: Decimal | None
    """None: no cap."""
    cap_share: float | None
    """Of the cap that is spent, 1 is all; None without a cap or where the cost is unknown."""
    projected_usd: MoneyInterval | None
    """Final cost of the machine; None: unknown."""
    projected_cap_share: float | None
    """Of the cap that is expected to be spent at the end, with what is billed beside the machine; None without a cap or
    a projection."""
    projected_basis: str
    """What the projection rests on: `the plan`, `120 steps so far` ..."""
    left_s: Interval | None
    """Until the task is through; None: unknown, or over."""
    evidence: Evidence | None
    """The last answer of the provider; None: it was not asked yet."""
    warnings: tuple[str, ...]
    """Of the task, the newest last."""
    guard_warning: str | None
    """The newest that a guard on money or time gave; None: none did."""
    preemptions: int
    """Notices that the machine is taken away."""
    requote: LiveRequote | None
    """What became of the quote that the probe renewed; None: it was not."""
    error: LiveError | None
    alarm: Alarm | None
    stale_since_s: float | None
    """Since when the ledger cannot be read and all this is old; None: it can."""
    stale_reason: str | None
    is_catching_up: bool
    """Whether more events are waiting; poll again soon."""
    log_version: int
    """Rises with every line of the log."""
    latest: Mapping[str, float] = field(default_factory=dict)
    """Newest value of each curve: `training loss`, `validation f1_macro` ..."""

    @property
    def active(self) -> LivePhase | None:
        """The phase it is in; None before and after."""
        return next((phase for phase in self.phases if phase.state is PhaseState.ACTIVE), None)

    @property
    def is_failure(self) -> bool:
        """Whether something went wrong, rather than that somebody ended it."""
        return self.error is not None and self.state not in {RunState.STOPPED, RunState.INTERRUPTED}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What charts can have across: dollars need a start of billing and a price above 0."""
        if not any(series.billing_started_s is not None for series in self.series):
            return (Axis.STEPS,)
        return (Axis.STEPS, Axis.SECONDS, Axis.DOLLARS) if self.price_usd_per_hour else (Axis.STEPS, Axis.SECONDS)


def live_to_json(live: LiveRun) -> dict[str, Any]:
    """The run as one JSON object, schema 1; times in Unix seconds, money in dollars, null where unknown."""
    projected, left, evidence = live.projected_usd, live.left_s, live.evidence
    return {
        "schema": LIVE_JSON_VERSION,
        "run_id": live.run_id,
        "at_s": live.polled_at_s,
        "state": str(live.state),
        "detail": live.state_detail,
        "may_bill": live.may_bill,
        "has_client": live.has_client,
        "stop_asked": live.stop_asked,
        "phases": [{**asdict(phase), "state": str(phase.state)} for phase in live.phases],
        "step": live.step,
        "steps": live.steps,
        "epoch": live.epoch,
        "latest": dict(live.latest),
        "speed": live.speed,
        "speed_unit": live.speed_unit,
        "peak_memory_bytes": live.peak_memory_bytes,
        "device_memory_bytes": live.device_memory_bytes,
        "utilization_percent": live.utilization_percent,
        "cost_usd": _number(live.cost_usd),
        "beside_usd": _number(live.beside_usd),
        "unconfirmed_usd": _number(live.unconfirmed_usd),
        "cap_usd": _number(live.cap_usd),
        "cap_share": live.cap_share,
        "projected_usd": None
        if projected is None
        else {
            "low": _number(projected.low),
            "expected": _number(projected.expected),
            "high": _number(projected.high),
        },
        "projected_cap_share": live.projected_cap_share,
        "projected_basis": live.projected_basis,
        "left_s": None if left is None else asdict(left),
        "evidence": None if evidence is None else {**asdict(evidence), "left": list(evidence.left)},
        "guard_warning": live.guard_warning,
        "preemptions": live.preemptions,
        "requote": None if live.requote is None else asdict(live.requote),
        "error": None if live.error is None else asdict(live.error),
        "alarm": None if live.alarm is None else {**asdict(live.alarm), "commands": list(live.alarm.commands)},
        "stale_since_s": live.stale_since_s,
        "stale_reason": live.stale_reason,
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else round(float(value), 6)
