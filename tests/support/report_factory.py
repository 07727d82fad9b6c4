"""A realistic run for tests of reports: MiniLM on BBC News on an L4, event by event, in any state."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.launch.engine import Evidence
from manager.planner.plan import Assumption, CostLine, Estimate, Plan
from manager.prices.offer import Offer
from manager.runs.records import Charge, RunEvents, RunRecord, StateChange
from manager.runs.states import FINAL, RunState
from manager.spec.model import Budget, RunSpec
from manager.units import Interval, MoneyInterval, usd
from manager.workload.memory_answer import MemoryAnswer
from manager.workload.profile import DataStats, WorkloadProfile
from tasks.job import DataChoice, ModelChoice, TrainingChoice
from tasks.protocol import Event, EventType

T0 = 1_790_000_000.0
"""Unix time at which the run was created."""
LABELS = ("business", "entertainment", "politics", "sport", "tech")
STEPS = 168
_CONFUSION = [[97, 0, 2, 0, 3], [1, 74, 0, 0, 2], [3, 0, 80, 0, 0], [0, 0, 0, 102, 0], [1, 2, 0, 0, 78]]
_BASELINE_CONFUSION = [[0, 0, 0, 0, 102], [0, 0, 0, 2, 75], [0, 0, 0, 0, 83], [0, 0, 0, 4, 98], [0, 0, 0, 0, 81]]


def make_offer(*, price: str | None = "0.8048", cloud: str = "aws", accelerator: str = "L4") -> Offer:
    """An L4 on AWS."""
    return Offer(
        cloud=cloud,
        region="us-east-1",
        instance_type="g6.xlarge",
        accelerator=accelerator,
        accelerator_count=1,
        accelerator_memory_bytes=24 * 2**30,
        vcpus=4,
        host_memory_bytes=16 * 2**30,
        use_spot=False,
        price_usd_per_hour=None if price is None else Decimal(price),
        price_source="SkyPilot catalog v8/aws",
        price_age_s=3 * 86400.0,
    )


def make_spec(*, name: str = "bbc-news-minilm", model: str = "sentence-transformers/all-MiniLM-L6-v2") -> RunSpec:
    """Full fine-tuning over three epochs, a cap of two dollars."""
    return RunSpec(
        name=name,
        task="text-classification",
        model=ModelChoice(source=model),
        data=DataChoice(source="SetFit/bbc-news"),
        training=TrainingChoice(epochs=3, batch_size=32, learning_rate=5e-5, max_length=256, metric="f1_macro"),
        budget=Budget(max_usd=Decimal("2")),
    )


def make_estimate(offer: Offer) -> Estimate:
    """0.21 to 0.36 hours, with the lines of the plan."""
    price = offer.price_usd_per_hour
    hours = {
        "boot": (0.03, 0.05, 0.09),
        "setup": (0.05, 0.08, 0.12),
        "download": (0.002, 0.004, 0.01),
        "baseline": (0.001, 0.002, 0.004),
        "training": (0.06, 0.08, 0.11),
        "evaluation": (0.003, 0.005, 0.008),
        "checkpoints": (0.001, 0.002, 0.004),
        "final": (0.001, 0.002, 0.004),
        "saving": (0.0005, 0.001, 0.002),
        "teardown": (0.01, 0.02, 0.03),
    }
    lines = tuple(
        CostLine(
            name=name,
            quantity=Interval(low=low, expected=expected, high=high),
            unit="h",
            unit_price_usd=price or Decimal(0),
            total_usd=_money(price or Decimal(0), (low, expected, high)),
            assumption=None,
        )
        for name, (low, expected, high) in hours.items()
    )
    total = [sum(values[i] for values in hours.values()) for i in range(3)]
    return Estimate(
        offer=offer,
        fits=True,
        micro_batch=32,
        memory=MemoryAnswer(
            phase="backward",
            weights=91_000_000,
            gradients=91_000_000,
            optimizer_state=182_000_000,
            weight_copies=0,
            activations=1_150_000_000,
            checkpoint_stash=0,
            loss_chain=100_000,
            temporaries=40_000_000,
            inputs=0,
            workspace=0,
            allocator_reserve=150_000_000,
            context=550_000_000,
            reclaimable_bytes=0,
            training_bytes=2_254_100_000,
            evaluation_bytes=900_000_000,
            save_bytes=823_000_000,
            host_bytes=182_000_000,
            basis="test",
        ),
        hours=Interval(low=total[0], expected=total[1], high=total[2]),
        training_hours=Interval(low=0.06, expected=0.08, high=0.11),
        cost_usd=None if price is None else _money(price, (total[0], total[1], total[2])),
        lines=lines if price is not None else (),
        assumptions=(Assumption(name="mfu", text="0.30 of the peak"),),
        reason=None,
    )


def make_plan(*, offer: Offer, spec: RunSpec) -> Plan:
    """A plan that chose this offer."""
    return Plan(
        plan_id="plan-7f3a",
        created_at_s=T0 - 60,
        spec=spec,
        profile=_profile(spec),
        offers=(make_estimate(offer),),
        chosen=0,
        rejected=(),
        notes=(),
    )


def make_run(
    *,
    state: RunState = RunState.SUCCEEDED,
    run_id: str = "bbc-news-minilm-0921-1433",
    price: str | None = "0.8048",
    spec: RunSpec | None = None,
    events: tuple[Event, ...] | None = None,
    labels: tuple[str, ...] = LABELS,
    billed_s: float = 812.0,
    final: float = 0.9686,
    clock_shift_s: float = 0.0,
    failed_attempts: tuple[str, ...] = ("aws us-west-2 g6.xlarge: InsufficientInstanceCapacity",),
) -> RunEvents:
    """A run in a state; by default one that succeeded, with all its events."""
    offer = make_offer(price=price)
    found = make_events(labels=labels, final=final) if events is None else events
    moved = tuple(replace(event, time_s=event.time_s + clock_shift_s) for event in found)
    ended = state in FINAL or state is RunState.UNCONFIRMED
    record = RunRecord(
        run_id=run_id,
        state=state,
        created_at_s=T0,
        plan=make_plan(offer=offer, spec=spec or make_spec()),
        run_dir=Path("runs") / run_id,
        engine="sky",
        cap_usd=Decimal("2"),
        handle=None,
        offer=offer,
        billing_started_at_s=T0 + 5,
        billing_ended_at_s=T0 + 5 + billed_s if ended else None,
        history=make_history(state, billed_s),
        charges=make_charges(offer.price_usd_per_hour, billed_s if ended else 510.0),
        evidence=make_evidence(confirmed=state in FINAL, at_s=T0 + 6 + billed_s) if ended else (),
        failed_attempts=failed_attempts,
        last_seq=moved[-1].seq if moved else -1,
    )
    return RunEvents(record=record, events=moved)


def make_history(state: RunState, billed_s: float) -> tuple[StateChange, ...]:
    """Planned, launching, running after 160 s, then the way to the state."""
    rows = [
        StateChange(state=RunState.PLANNED, at_s=T0, detail=None),
        StateChange(state=RunState.LAUNCHING, at_s=T0 + 2, detail="SkyPilot, cluster tf-bbc-news-minilm"),
        StateChange(state=RunState.RUNNING, at_s=T0 + 165, detail=None),
    ]
    if state not in {RunState.PLANNED, RunState.LAUNCHING, RunState.RUNNING}:
        rows.append(StateChange(state=RunState.TEARING_DOWN, at_s=T0 + billed_s - 50, detail="the task ended"))
        rows.append(StateChange(state=state, at_s=T0 + billed_s + 7, detail=None))
    return tuple(rows)


def make_charges(price: Decimal | None, billed_s: float) -> tuple[Charge, ...]:
    """One row a five minutes, touching, the last up to the end."""
    starts = [300.0 * i for i in range(math.ceil(billed_s / 300))]
    spans = [(start, min(start + 300, billed_s)) for start in starts]
    return tuple(
        Charge(
            at_s=T0 + 5 + to,
            from_s=T0 + 5 + start,
            to_s=T0 + 5 + to,
            price_usd_per_hour=price,
            amount_usd=None if price is None else usd(price * Decimal(str(to - start)) / 3600),
            what="machine",
        )
        for start, to in spans
    )


def make_evidence(*, confirmed: bool, at_s: float) -> tuple[Evidence, ...]:
    """One answer of the provider."""
    return (
        Evidence(
            confirmed=confirmed,
            asked_at_s=at_s,
            source="SkyPilot status, forced refresh",
            answer="no cluster of this name" if confirmed else "the provider did not answer within 60 s",
            left=() if confirmed else ("tf-bbc-news-minilm",),
        ),
    )


class _Script:
    """Collects events with rising seq; each `add` moves the clock."""

    def __init__(self, start_s: float) -> None:
        self.now_s = start_s
        self.events: list[Event] = []

    def add(self, after_s: float, kind: EventType, **data: Any) -> None:
        self.now_s += after_s
        self.events.append(Event(seq=len(self.events), time_s=round(self.now_s, 3), type=kind, data=data))


def make_events(*, labels: tuple[str, ...] = LABELS, final: float = 0.9686) -> tuple[Event, ...]:
    """All events of a run whose task starts 390 s after billing did."""
    script = _Script(T0 + 5 + 390)
    _opening(script, labels)
    script.add(0.1, EventType.PHASE, name="baseline")
    evaluation(script, "baseline", 0, 1.6094, 0.1910, labels)
    script.add(0.1, EventType.PHASE, name="training")
    for step in range(4, STEPS + 1, 4):
        _train(script, step)
        if step % 28 == 0:
            value = final - 0.62 * math.exp(-step / 24) - (0.0065 if step == STEPS else 0)
            evaluation(script, "interval", step, 1.55 * math.exp(-step / 40) + 0.11, value, labels)
            script.add(1.4, EventType.CHECKPOINT, step=step, path=f"step-{step}", bytes=272_000_000, duration_s=1.3)
    script.add(0.1, EventType.PHASE, name="final_evaluation")
    evaluation(script, "final", 140, 0.1312, final, labels)
    script.add(0.1, EventType.PHASE, name="saving")
    script.add(
        2.2,
        EventType.FINISHED,
        outcome="completed",
        steps=STEPS,
        best={"metric": "f1_macro", "value": round(final - 0.62 * math.exp(-140 / 24), 4), "step": 140},
        training_s=270.0,
        total_s=330.0,
        peak_memory_bytes=2_184_000_000,
        output="model",
    )
    return tuple(script.events)


def cut(events: tuple[Event, ...], last: EventType, *, count: int = 1) -> tuple[Event, ...]:
    """The stream up to the count-th event of a type, as if it had broken there."""
    seen = 0
    for index, event in enumerate(events):
        seen += event.type is last
        if seen == count:
            return events[: index + 1]
    return events


def evaluation(
    script: _Script, stage: str, step: int, loss: float, accuracy: float, labels: tuple[str, ...] = LABELS
) -> None:
    """One evaluation with all its metrics."""
    interval = stage == "interval"
    per_class = {
        label: {
            "precision": None if stage == "baseline" and i < 3 else round(accuracy - 0.004 * i, 4),
            "recall": round(min(1.0, accuracy + 0.003 * i), 4),
            "f1": round(accuracy - 0.001 * i, 4),
            "support": sum(_CONFUSION[i % 5]),
        }
        for i, label in enumerate(labels)
    }
    script.add(
        3.1,
        EventType.EVALUATION,
        stage=stage,
        split="validation" if interval else "test",
        step=step,
        loss=round(loss, 4),
        metrics={
            "accuracy": round(accuracy, 4),
            "precision_macro": round(accuracy - 0.0016, 4),
            "recall_macro": round(accuracy - 0.0009, 4),
            "f1_macro": round(accuracy - 0.0011, 4),
            "f1_weighted": round(accuracy - 0.0002, 4),
            "roc_auc": None if stage == "baseline" else round(min(0.999, accuracy + 0.028), 4),
        },
        per_class=per_class,
        confusion_matrix=None if interval else (_BASELINE_CONFUSION if stage == "baseline" else _CONFUSION),
        samples=445,
        duration_s=2.9,
    )


def _opening(script: _Script, labels: tuple[str, ...]) -> None:
    script.add(
        0,
        EventType.STARTED,
        versions={"torch": "2.13.0", "transformers": "5.17.0", "python": "3.11.9"},
        device="cuda",
        device_name="NVIDIA L4",
        device_count=1,
        precision="fp32",
        pid=4711,
        resumed_from_step=None,
    )
    script.add(0.1, EventType.PHASE, name="loading_data")
    script.add(
        6.0,
        EventType.DATA,
        source="SetFit/bbc-news",
        sha256="9d3f0c7e5a1b4d2f8e6c0a9b7d5e3f1a2c4b6d8e0f1a3c5b7d9e1f2a4c6b8d0e",
        train_samples=1780,
        validation_samples=222,
        test_samples=445,
        labels=list(labels),
        label_counts=dict.fromkeys(labels, 356),
        tokens_per_epoch=402_000,
        mean_tokens=225.9,
        longest_tokens=256,
        truncated_samples=1290,
    )
    script.add(0.1, EventType.PHASE, name="loading_model")
    script.add(4.4, EventType.MODEL, parameters=22_715_141, trainable_parameters=22_715_141)
    script.add(0.2, EventType.WARNING, code="truncated", message="1,290 of 1,780 samples are longer than 256 tokens")


def _train(script: _Script, step: int) -> None:
    noise = 0.05 * math.sin(step * 1.7) * math.exp(-step / 90)
    script.add(
        6.1,
        EventType.TRAIN,
        step=step,
        epoch=round(step / 56, 4),
        loss=round(1.55 * math.exp(-step / 34) + 0.05 + noise, 4),
        learning_rate=5e-5,
        grad_norm=1.2,
        samples=step * 32,
        tokens=step * 7180,
        tokens_per_s=4708.0,
        step_s=1.525,
        elapsed_s=round(step * 1.525, 3),
        peak_memory_bytes=2_150_000_000,
    )


def _money(price: Decimal, hours: tuple[float, float, float]) -> MoneyInterval:
    low, expected, high = (usd(price * Decimal(str(value))) for value in hours)
    return MoneyInterval(low=low, expected=expected, high=high)


def _profile(spec: RunSpec) -> WorkloadProfile:
    return WorkloadProfile(
        model=spec.model.source,
        method=spec.method.kind,
        precision=spec.training.precision,
        parameters=22_715_141,
        trainable_parameters=22_715_141,
        num_labels=5,
        lora_rank=None,
        gradient_checkpointing=False,
        batch_size=32,
        steps=STEPS,
        evaluations=6,
        samples_seen=5340,
        data=DataStats(
            train_samples=1780,
            validation_samples=222,
            test_samples=445,
            labels=LABELS,
            mean_tokens=225.9,
            longest_tokens=256,
            padded_mean_tokens=238.0,
            truncated_share=0.72,
            bytes=5_000_000,
            sha256=None,
            basis="all samples tokenized",
            measured=True,
        ),
        flops_per_step=1.0e12,
        flops_evaluation=2.0e13,
        tokens_per_epoch=402_000,
        weights_bytes=90_900_000,
        checkpoint_bytes=272_000_000,
        basis="closed formulas",
    )
