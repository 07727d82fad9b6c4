"""What a change that fits does to hours and dollars."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.fix_effects import EffectOfFix
from manager.workload.efficiencies import software
from manager.workload.fixes import Effect, Fix
from manager.workload.placement import ONE_DEVICE, Placement
from manager.workload.roofline import step_seconds
from manager.workload.speed import speed_of
from tests.support.plan_factory import make_data, make_profile, make_spec, make_traces

SPEC = make_spec(precision="bf16", batch_size=32)
PROFILE = make_profile("tinyllama", SPEC, make_data(tokens=200))
TRACE = make_traces("tinyllama", SPEC).cuda
CHECKPOINTING = make_traces("tinyllama", make_spec(precision="bf16", checkpointing=True)).cuda
PRICES = {"L4": Decimal(1), "H100": Decimal(4)}
EFFECT = EffectOfFix(
    profile=PROFILE,
    trace=TRACE,
    alternatives={"gradient_checkpointing": CHECKPOINTING},
    card="L4",
    placement=ONE_DEVICE,
    usd_per_hour=PRICES.get,
    rank=None,
)


def fix(name: str, *, card: str = "L4", micro_batch: int | None = 32, length: int = 200, devices: int = 1) -> Fix:
    """A rung that fits."""
    placement = ONE_DEVICE if devices == 1 else Placement(replicas=devices, sharding="fsdp")
    return Fix(
        name=name,
        text="",
        micro_batch=micro_batch,
        answer=None,
        saved_bytes=0,
        fits=True,
        reason=None,
        placement=placement,
        length=length,
        card=card,
    )


def judged(one: Fix, effect: EffectOfFix = EFFECT) -> tuple[float, float]:
    """Hours and dollars; both are known."""
    found = effect(one)
    assert isinstance(found, Effect)
    assert found.hours is not None
    assert found.usd is not None
    return found.hours, found.usd


def test_the_same_step_costs_nothing_more() -> None:
    assert judged(fix("adamw_8bit")) == (0, 0)


def test_a_smaller_micro_batch_takes_more_passes_of_the_whole_run() -> None:
    speed = speed_of(accelerator("L4"), software=software("eager"))  # type: ignore[arg-type]
    assert speed is not None
    one, parts = (
        step_seconds(TRACE, speed, batch=batch, length=200, micro_batches=32 / batch).total_s for batch in (32, 1)
    )
    hours, usd = judged(fix("micro_batch", micro_batch=1))
    assert hours == pytest.approx(PROFILE.steps * (parts - one) / 3600)
    assert usd == pytest.approx(hours)
    assert hours > 0


def test_another_card_has_its_own_speed_and_price() -> None:
    hours, usd = judged(fix("larger_card", card="H100"))
    slower = judged(fix("larger_card", card="L4"))
    assert hours < 0 == slower[0]
    before = -usd + 4 * 0  # dollars that are saved, or spent
    assert before == pytest.approx(_total("L4") * 1 - _total("H100") * 4)


def _total(card: str) -> float:
    known = accelerator(card)
    assert known is not None
    speed = speed_of(known, software=software("eager"))
    assert speed is not None
    return PROFILE.steps * step_seconds(TRACE, speed, batch=32, length=200).total_s / 3600


def test_all_devices_of_a_sharded_step_are_paid() -> None:
    hours, usd = judged(fix("fsdp", devices=4, micro_batch=8))
    after = _total("L4") + hours
    assert usd == pytest.approx(4 * after - _total("L4"))
    assert after > 0


def test_shorter_samples_take_less_time() -> None:
    hours, usd = judged(fix("max_length", length=100))
    assert hours < 0
    assert usd < 0
    assert judged(fix("max_length", length=400)) == (0, 0)


def test_what_is_not_known_is_not_said() -> None:
    assert EFFECT(fix("cpu_offload")) is None
    assert EFFECT(fix("lora")) is None
    assert EFFECT(fix("micro_batch", micro_batch=None)) is None
    unpriced = EFFECT(fix("larger_card", card="H200"))
    assert unpriced is not None
    assert unpriced.hours is not None
    assert unpriced.usd is None


def test_no_time_where_the_card_lacks_the_type() -> None:
    assert replace(EFFECT, card="T4")(fix("micro_batch", micro_batch=1, card="T4")) is None
