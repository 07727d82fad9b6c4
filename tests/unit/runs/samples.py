"""A plan, an order and events to fill ledgers with."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from manager.launch.engine import LaunchRequest
from manager.planner.plan import Estimate, Plan
from manager.prices.offer import Offer
from manager.runs.supervise import RunOrder
from manager.spec.model import RunSpec
from manager.units import Interval, MoneyInterval
from manager.workload.profile import DataStats, WorkloadProfile
from tasks.job import DataChoice, Job, ModelChoice
from tasks.protocol import Event, EventType

PRICE = Decimal("3.60")
"""A tenth of a cent per second."""


def offer(price: Decimal | None = PRICE) -> Offer:
    return Offer(
        cloud="local",
        region=None,
        zones=("a", "b"),
        instance_type=None,
        accelerator=None,
        accelerator_count=0,
        accelerator_memory_bytes=8 * 2**30,
        vcpus=2,
        host_memory_bytes=None,
        use_spot=False,
        price_usd_per_hour=price,
        price_source="test",
        price_age_s=None,
    )


def profile(steps: int = 100, *, measured: bool = True) -> WorkloadProfile:
    data = DataStats(
        train_samples=800,
        validation_samples=100,
        test_samples=200,
        labels=("a", "b"),
        mean_tokens=50.0,
        longest_tokens=128,
        padded_mean_tokens=60.0,
        truncated_share=0.0,
        bytes=10_000,
        sha256=None,
        basis="test",
        measured=measured,
    )
    return WorkloadProfile(
        model="m",
        method="full",
        precision="fp32",
        parameters=1000,
        trainable_parameters=1000,
        num_labels=2,
        lora_rank=None,
        gradient_checkpointing=False,
        batch_size=8,
        steps=steps,
        evaluations=2,
        samples_seen=800,
        data=data,
        flops_per_step=1000.0,
        flops_evaluation=6000.0,
        tokens_per_epoch=40_000,
        weights_bytes=4000,
        checkpoint_bytes=12_000,
        basis="test",
    )


def plan(steps: int = 100, *, price: Decimal | None = PRICE, measured: bool = True) -> Plan:
    hour = Interval(low=0.5, expected=1.0, high=2.0)
    cost = None if price is None else MoneyInterval(low=price / 2, expected=price, high=price * 2)
    estimate = Estimate(
        offer=offer(price),
        fits=True,
        micro_batch=8,
        memory=None,
        hours=hour,
        training_hours=hour,
        cost_usd=cost,
        lines=(),
        assumptions=(),
        reason=None,
    )
    spec = RunSpec(name="job", task="text-classification", model=ModelChoice(source="m"), data=DataChoice(source="d"))
    return Plan(
        plan_id="p1",
        created_at_s=1000.0,
        spec=spec,
        profile=profile(steps, measured=measured),
        offers=(estimate,),
        chosen=0,
        rejected=(),
        notes=("a note",),
        offers_total=1,
        rejected_total=0,
    )


def order(
    run_dir: Path,
    *,
    run_id: str = "job-20260101-aaaa",
    cap_usd: Decimal | None = None,
    max_duration_s: float | None = None,
    plan_steps: int = 100,
    measured: bool = True,
    **orders: object,
) -> RunOrder:
    """An order for the fake task of tests/unit/launch/fake_task.py."""
    source = json.dumps({"steps": 5, "step_s": 0.02, **orders})
    request = LaunchRequest(
        run_id=run_id,
        job=Job(run_id=run_id, model=ModelChoice(source="m"), data=DataChoice(source=source)),
        offers=(offer(),),
        run_dir=run_dir,
        max_duration_s=max_duration_s,
    )
    return RunOrder(request=request, plan=plan(plan_steps, measured=measured), cap_usd=cap_usd)


def event(seq: int, kind: EventType = EventType.WARNING, **data: object) -> Event:
    return Event(seq=seq, time_s=1000.0 + seq, type=kind, data=data or {"code": "c", "message": f"m{seq}"})
