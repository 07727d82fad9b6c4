"""One clock for a run: where each event lies on the bill, and what the machine did with the billed time.

Billing is kept by this machine's clock, events carry the clock of the machine that trains. When the first `started`
event lies inside the billed time as it should, the clocks are taken to agree. When it does not, event times are moved
so that `started` falls on the moment at which the ledger saw the task running.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.planner.plan import CostLine
from manager.reports.model import PhaseShare
from manager.runs.records import RunRecord
from manager.runs.states import RunState
from manager.units import SECONDS_PER_HOUR, usd
from tasks.protocol import EvaluationStage, Event, EventType, PhaseName

CLOCK_TOLERANCE_S = 5.0
"""Clocks kept by NTP differ by less."""

_DIGITS_S = 3
"""Milliseconds, as the events have; differences of Unix times carry float noise below that."""

PLAN_LINES: dict[str, tuple[str, ...]] = {
    "provisioning": ("boot",),
    "setup": ("setup", "start"),
    "loading": ("download", "data"),
    "probe": ("probe",),
    "baseline": ("baseline",),
    "training": ("training",),
    "evaluation": ("evaluation",),
    "checkpoints": ("checkpoints",),
    "final": ("final",),
    "saving": ("saving",),
    "teardown": ("fetch", "teardown"),
    "interruption": ("spot_rework",),
}
"""Phase of a report -> names of the plan's cost lines for it."""

_PHASES: dict[str, str] = {
    PhaseName.LOADING_DATA: "loading",
    PhaseName.LOADING_MODEL: "loading",
    PhaseName.PROBE: "probe",
    PhaseName.BASELINE: "baseline",
    PhaseName.TRAINING: "training",
    PhaseName.FINAL_EVALUATION: "final",
    PhaseName.SAVING: "saving",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Brings event times onto the bill."""

    billing_started_at_s: float | None
    shift_s: float
    """Added to event times to bring them to this machine's clock."""
    price_usd_per_hour: Decimal | None
    note: str | None
    """How the clocks were brought together; None without events or billing."""

    def since_billing_s(self, event: Event) -> float | None:
        """Seconds from the start of billing to the event, never negative; None when billing never started."""
        if self.billing_started_at_s is None:
            return None
        return max(0.0, round(event.time_s + self.shift_s - self.billing_started_at_s, _DIGITS_S))

    def cost_usd(self, duration_s: float | None) -> Decimal | None:
        """Launch price x duration; None when either is unknown."""
        if duration_s is None or self.price_usd_per_hour is None:
            return None
        return usd(self.price_usd_per_hour * Decimal(str(duration_s)) / SECONDS_PER_HOUR)


def make_timeline(record: RunRecord, events: tuple[Event, ...], price_usd_per_hour: Decimal | None) -> Timeline:
    """The run's clock, from its first `started` event, its billing and its history."""
    billing = record.billing_started_at_s
    started = next((event.time_s for event in events if event.type is EventType.STARTED), None)
    if billing is None or started is None:
        return Timeline(billing_started_at_s=billing, shift_s=0.0, price_usd_per_hour=price_usd_per_hour, note=None)
    running = next((change.at_s for change in record.history if change.state is RunState.RUNNING), billing)
    shift_s = clock_shift_s(
        billing_started_at_s=billing,
        billing_ended_at_s=record.billing_ended_at_s,
        running_at_s=running,
        started_s=started,
        last_s=events[-1].time_s,
    )
    note = "event times are the training machine's own; its clock agrees with the bill"
    if shift_s is not None:
        note = (
            f"the training machine's clock differs: event times were moved by {shift_s:+.0f} s, "
            "so that the task starts when the ledger saw it running"
        )
    return Timeline(
        billing_started_at_s=billing, shift_s=shift_s or 0.0, price_usd_per_hour=price_usd_per_hour, note=note
    )


def clock_shift_s(
    *,
    billing_started_at_s: float,
    billing_ended_at_s: float | None,
    running_at_s: float,
    started_s: float,
    last_s: float,
) -> float | None:
    """Seconds to add to event times so that they lie on this machine's clock; None: the clocks agree.

    Args:
        billing_started_at_s: this machine's clock.
        billing_ended_at_s: the same; None while the machine may be billed.
        running_at_s: when the ledger saw the task running, by the same clock.
        started_s: of the first `started` event, by the training machine's clock.
        last_s: of the last event, by the same.
    """
    early = started_s < billing_started_at_s - CLOCK_TOLERANCE_S
    late = billing_ended_at_s is not None and last_s > billing_ended_at_s + CLOCK_TOLERANCE_S
    return max(running_at_s, billing_started_at_s) - started_s if early or late else None


def billed_until_s(record: RunRecord, timeline: Timeline, events: tuple[Event, ...]) -> float | None:
    """End of billing in Unix time; for a run that goes on the latest moment known; None when nothing was billed."""
    if record.billing_started_at_s is None:
        return None
    if record.billing_ended_at_s is not None:
        return record.billing_ended_at_s
    known = [charge.to_s for charge in record.charges] + [change.at_s for change in record.history]
    known += [events[-1].time_s + timeline.shift_s] if events else []
    return max([record.billing_started_at_s, *known])


def share_phases(
    record: RunRecord, timeline: Timeline, events: tuple[Event, ...], lines: tuple[CostLine, ...]
) -> tuple[PhaseShare, ...]:
    """Split the billed time into phases; they add up to all of it.

    Evaluations and checkpoints inside training are taken out of it, so that training is optimizer steps only.
    """
    end_s = billed_until_s(record, timeline, events)
    if end_s is None or record.billing_started_at_s is None:
        return ()
    marks = _before_task(record, timeline, events) + _during_task(timeline, events)
    marks += _after_lost_task(record, events, marks[-1][0])
    duration_s = dict.fromkeys(PLAN_LINES, 0.0)
    billed_s = end_s - record.billing_started_at_s
    ends = [start for start, _ in marks[1:]] + [billed_s]
    for (start, name), end in zip(marks, ends, strict=True):
        duration_s[name] = duration_s.get(name, 0.0) + max(0.0, min(end, billed_s) - start)
    _take_out_of_training(duration_s, events)
    rounded = {name: round(seconds, _DIGITS_S) for name, seconds in duration_s.items()}
    return tuple(_phase(name, seconds, timeline, lines) for name, seconds in rounded.items() if seconds > 0)


def task_end_s(timeline: Timeline, events: tuple[Event, ...]) -> float | None:
    """Seconds from the start of billing to the end of the training phase; None before training started."""
    training = [i for i, e in enumerate(events) if e.type is EventType.PHASE and e.data["name"] == PhaseName.TRAINING]
    if not training:
        return None
    after = [e for e in events[training[-1] + 1 :] if e.type in {EventType.PHASE, EventType.FINISHED, EventType.FAILED}]
    return timeline.since_billing_s(after[0] if after else events[-1])


def _before_task(record: RunRecord, timeline: Timeline, events: tuple[Event, ...]) -> list[tuple[float, str]]:
    """Provisioning until the ledger saw the machine run, set-up until the task's first sign of life."""
    billing = record.billing_started_at_s or 0.0
    first = timeline.since_billing_s(events[0]) if events else None
    running = next((c.at_s - billing for c in record.history if c.state is RunState.RUNNING), None)
    marks = [(0.0, "provisioning")]
    if running is not None and (first is None or 0 <= running <= first):
        marks.append((running, "setup"))
    return marks


def _during_task(timeline: Timeline, events: tuple[Event, ...]) -> list[tuple[float, str]]:
    marks: list[tuple[float, str]] = []
    last: float = 0.0
    for event in events:
        at = timeline.since_billing_s(event)
        assert at is not None, "called with billing known"
        if event.type is EventType.STARTED and marks:
            marks.append((last, "interruption"))
        if event.type is EventType.STARTED or not marks:
            marks.append((at, "loading"))
        elif event.type is EventType.PHASE:
            marks.append((at, _PHASES.get(str(event.data["name"]), str(event.data["name"]))))
        elif event.type in {EventType.FINISHED, EventType.FAILED}:
            marks.append((at, "teardown"))
        last = at
    return marks


def _after_lost_task(record: RunRecord, events: tuple[Event, ...], after: float) -> list[tuple[float, str]]:
    """Teardown as the ledger saw it, for a task that did not say how it ended."""
    if any(event.type in {EventType.FINISHED, EventType.FAILED} for event in events):
        return []
    billing = record.billing_started_at_s or 0.0
    ending = next((c.at_s - billing for c in record.history if c.state is RunState.TEARING_DOWN), None)
    return [(ending, "teardown")] if ending is not None and ending >= after else []


def _take_out_of_training(duration_s: dict[str, float], events: tuple[Event, ...]) -> None:
    training = False
    for event in events:
        if event.type is EventType.PHASE:
            training = event.data["name"] == PhaseName.TRAINING
        elif training and event.type is EventType.EVALUATION and event.data["stage"] == EvaluationStage.INTERVAL:
            _move(duration_s, "evaluation", event.data.get("duration_s"))
        elif training and event.type is EventType.CHECKPOINT:
            _move(duration_s, "checkpoints", event.data.get("duration_s"))


def _move(duration_s: dict[str, float], name: str, seconds: float | None) -> None:
    moved = min(seconds or 0.0, duration_s["training"])
    duration_s["training"] -= moved
    duration_s[name] += moved


def _phase(name: str, duration_s: float, timeline: Timeline, lines: tuple[CostLine, ...]) -> PhaseShare:
    own = [line for line in lines if line.name in PLAN_LINES.get(name, ())]
    hours = [line.quantity.expected for line in own if line.unit == "h"]
    return PhaseShare(
        name=name,
        duration_s=duration_s,
        cost_usd=timeline.cost_usd(duration_s),
        estimated_s=sum(hours) * SECONDS_PER_HOUR if hours else None,
        estimated_usd=sum((line.total_usd.expected for line in own), Decimal(0)) if own else None,
    )
