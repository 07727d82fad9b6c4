"""From the ledger's record and events to a Report; pure, and total: any run that the ledger can hold has a report."""

from __future__ import annotations

from decimal import Decimal

from manager.planner.machine_share import planned_billed_hours, planned_machine_usd
from manager.planner.plan import Estimate
from manager.prices.offer import Offer, position_of
from manager.reports.model import DataFacts, Failure, Gauge, MachineFacts, Notice, PhaseShare, Report
from manager.reports.planned import planned_beside, planned_phases
from manager.reports.quality import (
    earlier_stops,
    read_best,
    read_classes,
    read_confusion,
    read_evaluations,
    read_losses,
    read_scores,
)
from manager.reports.reading import ending, last, number, text, whole
from manager.reports.timeline import make_timeline, share_phases
from manager.runs.machine_pieces import NO_MACHINE
from manager.runs.records import LAUNCH_ATTEMPT, RunEvents, RunRecord
from manager.runs.states import MAY_BILL, RunState
from manager.units import SECONDS_PER_HOUR, apart_usd, format_usd
from tasks.protocol import Event, EventType, Outcome


def build_report(run: RunEvents) -> Report:
    """The report of a run in any state: finished, failed in set-up, still running, never launched."""
    record, events = run.record, run.events
    metric = record.plan.spec.training.metric
    price = launch_price(record)
    timeline = make_timeline(record, events, price)
    estimate = launched_estimate(record)
    billed_s = _billed_s(record)
    phases = share_phases(record, timeline, events, estimate.lines if estimate else ())
    outcome = _outcome(events)
    model = last(events, EventType.MODEL)
    return Report(
        run_id=record.run_id,
        plan_id=record.plan.plan_id,
        state=record.state,
        outcome=outcome,
        created_at_s=record.created_at_s,
        spec=record.plan.spec,
        machine=_machine(record, events),
        data=_data(events),
        parameters=whole(model, "parameters") if model else None,
        trainable_parameters=whole(model, "trainable_parameters") if model else None,
        scores=read_scores(events),
        classes=read_classes(events),
        confusion=read_confusion(events),
        best=read_best(events, metric),
        losses=read_losses(events, timeline),
        evaluations=read_evaluations(events, timeline),
        earlier_stops=earlier_stops(events, timeline, metric),
        price_usd_per_hour=price,
        cost_usd=record.cost_usd,
        billed_s=billed_s,
        still_billing=record.state in MAY_BILL,
        cap_usd=record.cap_usd,
        steps_done=_steps_done(events),
        steps_planned=record.plan.profile.steps,
        tokens_per_s=_tokens_per_s(events),
        gauges=_gauges(record, events, estimate, billed_s, phases),
        phases=phases,
        planned_phases=planned_phases(estimate),
        planned_beside=planned_beside(estimate),
        clock=timeline.note,
        charges=record.charges,
        failed_attempts=record.failed_attempts,
        evidence=record.evidence,
        history=record.history,
        warnings=_warnings(record, events, price),
        failure=_failure(record, events),
    )


def launch_price(record: RunRecord) -> Decimal | None:
    """Dollars per hour of the offer taken, or of the plan's choice before a launch; None: unknown."""
    if record.offer is not None:
        return record.offer.price_usd_per_hour
    choice = record.plan.choice
    return choice.offer.price_usd_per_hour if choice else None


def launched_estimate(record: RunRecord) -> Estimate | None:
    """The plan's estimate for the offer taken (a fall-back has its own), for its choice before a launch."""
    if record.offer is None:
        return record.plan.choice
    candidates = (*record.plan.offers, *record.plan.rejected)
    position = position_of(record.offer, [estimate.offer for estimate in candidates])
    return None if position is None else candidates[position]


def _billed_s(record: RunRecord) -> float | None:
    machines = [one for one in record.charges if one.what != NO_MACHINE]
    if machines:
        # What a launch gave back is on the bill, and no time of the job; without a job it is all there is.
        own = [one for one in machines if one.what != LAUNCH_ATTEMPT] or machines
        return sum(one.to_s - one.from_s for one in own)
    if record.billing_started_at_s is None or record.billing_ended_at_s is None:
        return None
    return record.billing_ended_at_s - record.billing_started_at_s


def _gauges(
    record: RunRecord,
    events: tuple[Event, ...],
    estimate: Estimate | None,
    billed_s: float | None,
    phases: tuple[PhaseShare, ...],
) -> tuple[Gauge, ...]:
    through = _outcome(events) is Outcome.COMPLETED
    ended = record.billing_ended_at_s is not None
    cost, hours = planned_machine_usd(estimate), planned_billed_hours(estimate)
    training = estimate.training_hours if estimate else None
    trained_s = next((phase.duration_s for phase in phases if phase.name == "training"), None)
    return (
        Gauge(
            name="cost",
            unit="USD",
            low=float(cost.low) if cost else None,
            expected=float(cost.expected) if cost else None,
            high=float(cost.high) if cost else None,
            actual=float(record.cost_usd) if ended and record.cost_usd is not None else None,
            comparable=through,
        ),
        Gauge(
            name="hours",
            unit="h",
            low=hours.low if hours else None,
            expected=hours.expected if hours else None,
            high=hours.high if hours else None,
            actual=billed_s / SECONDS_PER_HOUR if ended and billed_s is not None else None,
            comparable=through,
        ),
        Gauge(
            name="training_hours",
            unit="h",
            low=training.low if training else None,
            expected=training.expected if training else None,
            high=training.high if training else None,
            actual=trained_s / SECONDS_PER_HOUR if through and trained_s is not None else None,
            comparable=through,
        ),
        Gauge(
            name="peak_memory",
            unit="bytes",
            low=None,
            expected=_estimated_peak_bytes(estimate),
            high=None,
            actual=_peak_memory_bytes(events),
            comparable=through,
        ),
    )


def _estimated_peak_bytes(estimate: Estimate | None) -> float | None:
    """The estimate of what the task measures: on a GPU what the allocator holds, which has no CUDA context in it."""
    if estimate is None or estimate.memory is None:
        return None
    memory = estimate.memory
    return memory.total_bytes if estimate.offer.accelerator is None else memory.reserved_bytes


def _peak_memory_bytes(events: tuple[Event, ...]) -> float | None:
    seen = [
        value
        for event in events
        if event.type in {EventType.TRAIN, EventType.FINISHED}
        and (value := number(event, "peak_memory_bytes")) is not None
    ]
    return max(seen, default=None)


def _outcome(events: tuple[Event, ...]) -> Outcome | None:
    end = ending(events)
    return Outcome(end.data["outcome"]) if end and end.type is EventType.FINISHED else None


def _steps_done(events: tuple[Event, ...]) -> int | None:
    end = ending(events)
    if end and end.type is EventType.FINISHED and (steps := whole(end, "steps")) is not None:
        return steps
    seen = [
        whole(event, "step") or 0
        for event in events
        if event.type in {EventType.TRAIN, EventType.EVALUATION, EventType.CHECKPOINT}
    ]
    return max(seen, default=None)


def _tokens_per_s(events: tuple[Event, ...]) -> float | None:
    train = last(events, EventType.TRAIN)
    tokens, elapsed_s = (number(train, "tokens"), number(train, "elapsed_s")) if train else (None, None)
    return tokens / elapsed_s if tokens is not None and elapsed_s else None


def _machine(record: RunRecord, events: tuple[Event, ...]) -> MachineFacts:
    started = last(events, EventType.STARTED)
    versions = started.data.get("versions") or {} if started else {}
    return MachineFacts(
        engine=record.engine,
        offer=record.offer,
        device_name=(text(started, "device_name") or text(started, "device")) if started else None,
        device_count=whole(started, "device_count") if started else None,
        precision=text(started, "precision") if started else None,
        versions={str(name): str(version) for name, version in versions.items()},
    )


def _data(events: tuple[Event, ...]) -> DataFacts | None:
    event = last(events, EventType.DATA)
    if event is None:
        return None
    return DataFacts(
        source=text(event, "source") or "unknown",
        sha256=text(event, "sha256"),
        train_samples=whole(event, "train_samples"),
        validation_samples=whole(event, "validation_samples"),
        test_samples=whole(event, "test_samples"),
        labels=tuple(str(label) for label in event.data.get("labels", ())),
        mean_tokens=number(event, "mean_tokens"),
        truncated_samples=whole(event, "truncated_samples"),
    )


def _warnings(record: RunRecord, events: tuple[Event, ...], price: Decimal | None) -> tuple[Notice, ...]:
    found = [
        Notice(code=text(event, "code") or "warning", message=text(event, "message") or "")
        for event in events
        if event.type is EventType.WARNING
    ]
    if price is None and record.billing_started_at_s is not None:
        message = "the price of the machine is unknown: no dollar figure can be given"
        found.append(Notice(code="price_unknown", message=message))
    choice = record.plan.choice
    if record.offer and choice and record.offer.key != choice.offer.key:
        message = f"ran on a fall-back ({_label(record.offer)}), the plan had chosen {_label(choice.offer)}"
        found.append(Notice(code="fall_back", message=message))
    if record.cap_usd is not None and record.cost_usd is not None and record.cost_usd > record.cap_usd:
        spent, cap = apart_usd(record.cost_usd, record.cap_usd)
        message = f"cost {spent} is over the cap of {cap}"
        found.append(Notice(code="over_cap", message=message))
    return tuple(dict.fromkeys(found))


def _label(offer: Offer) -> str:
    return f"{offer.key} at {format_usd(offer.price_usd_per_hour)}/h"


def _failure(record: RunRecord, events: tuple[Event, ...]) -> Failure | None:
    event = ending(events)
    if event is not None and event.type is EventType.FAILED:
        return Failure(
            code=text(event, "code") or "internal",
            message=text(event, "message") or "the task gave no message",
            hint=text(event, "hint"),
        )
    if record.state not in {RunState.FAILED, RunState.NO_CAPACITY, RunState.INTERRUPTED}:
        return None
    told = [change.detail for change in record.history if change.detail]
    return Failure(code="run", message=told[-1] if told else f"the run ended as {record.state}", hint=None)
