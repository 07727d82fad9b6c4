"""Whatever the rate and the times: preemptions cost time, more of them cost more, and no other interval is better."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from manager.planner.preemption import (
    Preemption,
    best_interval_s,
    best_interval_steps,
    break_even_rate,
    expected_s,
    rework,
)

RATES = st.floats(0, 20)
WORK = st.floats(1, 1e6)
WRITE = st.floats(0, 3000)
RECOVERY = st.floats(0, 7200)
PARTS = st.integers(1, 10_000)
ALMOST = 1 + 1e-9


def _preemption(rate: float, write: float, recovery: float) -> Preemption:
    return Preemption(rate_per_hour=rate, checkpoint_s=write, recovery_s=recovery, wait_s=60)


@given(WORK, RATES, WRITE, RECOVERY, st.floats(1e-3, 2e6))
def test_a_run_never_takes_less_than_its_work(work: float, rate: float, write: float, r: float, every: float) -> None:
    preemption = _preemption(rate, write, r)
    assert expected_s(work, every, preemption) >= work
    added = rework(work, preemption, before_s=100, after_s=50)
    assert min(added.writing_s, added.lost_s, added.preemptions, added.waited_s) >= 0


@given(WORK, RATES, RATES, WRITE, RECOVERY, st.floats(1e-3, 2e6))
def test_more_preemptions_cost_more_at_any_interval_and_at_the_best(
    work: float, one: float, other: float, write: float, recovery: float, every: float
) -> None:
    few, many = sorted((one, other))
    calm, rough = _preemption(few, write, recovery), _preemption(many, write, recovery)
    assert expected_s(work, every, calm) <= expected_s(work, every, rough) * ALMOST
    assert rework(work, calm, before_s=500).added_s <= rework(work, rough, before_s=500).added_s * ALMOST + 1e-6 * work


@given(WORK, RATES, WRITE, RECOVERY, PARTS)
def test_no_other_number_of_equal_segments_is_faster(
    work: float, rate: float, write: float, recovery: float, parts: int
) -> None:
    preemption = _preemption(rate, write, recovery)
    best = expected_s(work, best_interval_s(work, preemption), preemption)
    assert best <= expected_s(work, work / parts, preemption) * ALMOST


@given(st.integers(1, 100_000), st.floats(1e-3, 100), RATES, WRITE)
def test_steps_between_checkpoints_are_steps_of_the_run(steps: int, step_s: float, rate: float, write: float) -> None:
    assert 1 <= best_interval_steps(steps, step_s, _preemption(rate, write, 60)) <= steps


@given(st.floats(60, 1e5), WRITE, RECOVERY, st.floats(0.05, 1.2))
def test_spot_pays_below_the_break_even_rate_and_not_above(
    work: float, write: float, recovery: float, share: float
) -> None:
    preemption = _preemption(0, write, recovery)
    rate = break_even_rate(work, preemption, price_share=share, on_demand_s=work + write)

    def cost(at: float) -> float:
        return share * (work + rework(work, replace(preemption, rate_per_hour=at)).added_s)

    if rate is None:
        assert cost(0) >= work + write
    else:
        assert cost(rate * 0.99) <= (work + write) * ALMOST
        assert cost(rate * 1.01 + 1e-9) >= (work + write) / ALMOST
