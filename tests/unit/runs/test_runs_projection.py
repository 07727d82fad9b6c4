"""The final cost, told from progress."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.runs.projection import Progress, project_hours, project_usd
from manager.units import Interval
from tasks.protocol import EventType
from tests.unit.runs.samples import event, profile


def test_the_formula_by_hand() -> None:
    progress = Progress()
    evaluation = {"samples": 200, "duration_s": 20.0}
    progress = progress.after(event(0, EventType.EVALUATION, stage="baseline", **evaluation), now_s=100.0)
    progress = progress.after(event(1, EventType.TRAIN, step=25, elapsed_s=50.0), now_s=200.0)
    hours = project_hours(progress, profile(100), billing_started_at_s=0.0, now_s=210.0, may_end_early=False)
    # 75 steps at 2 s, 2 x 100 + 200 samples at 0.1 s, 10 s of them gone by; spread 5 % + 50 % / 5.
    remaining_s = 75 * 2 + 400 * 0.1 - 10
    assert hours is not None
    assert hours.expected * 3600 == pytest.approx(210 + remaining_s)
    assert hours.low * 3600 == pytest.approx(210 + remaining_s * 0.85)
    assert hours.high * 3600 == pytest.approx(210 + remaining_s * 1.15)


def test_evaluation_is_computed_from_flops_before_the_first_one() -> None:
    progress = Progress().after(event(0, EventType.TRAIN, step=100, elapsed_s=100.0), now_s=100.0)
    hours = project_hours(progress, profile(100), billing_started_at_s=0.0, now_s=100.0, may_end_early=False)
    # 6000 FLOPs at 1000 a second for 2 x 100 + 2 x 200 samples; the baseline's 200 are not still to come.
    assert hours is not None
    assert hours.expected * 3600 == pytest.approx(100 + 6.0 * 400 / 600)


def test_nothing_is_told_before_the_first_step() -> None:
    assert project_hours(Progress(), profile(), billing_started_at_s=0.0, now_s=50.0, may_end_early=False) is None


def test_a_run_that_may_end_early_could_end_now() -> None:
    progress = Progress().after(event(0, EventType.TRAIN, step=4, elapsed_s=4.0), now_s=10.0)
    hours = project_hours(progress, profile(), billing_started_at_s=0.0, now_s=10.0, may_end_early=True)
    assert hours is not None
    assert hours.low * 3600 == pytest.approx(10.0)


def test_a_finished_task_costs_what_it_cost() -> None:
    progress = Progress().after(event(0, EventType.FINISHED, outcome="completed"), now_s=10.0)
    hours = project_hours(progress, profile(), billing_started_at_s=0.0, now_s=36.0, may_end_early=False)
    assert hours == Interval(low=0.01, expected=0.01, high=0.01)
    cost = project_usd(hours, Decimal(2))
    assert cost is not None
    assert cost.expected == Decimal("0.02")


def test_unknown_stays_unknown() -> None:
    assert project_usd(None, Decimal(1)) is None
    assert project_usd(Interval(low=1, expected=1, high=1), None) is None


@given(
    st.integers(min_value=1, max_value=150),
    st.floats(min_value=0.01, max_value=1e5),
    st.floats(min_value=0, max_value=1e6),
    st.booleans(),
)
def test_the_interval_is_in_order_and_never_below_what_is_billed(
    steps: int, elapsed_s: float, now_s: float, early: bool
) -> None:
    progress = Progress().after(event(0, EventType.TRAIN, step=steps, elapsed_s=elapsed_s), now_s=now_s)
    hours = project_hours(progress, profile(100), billing_started_at_s=0.0, now_s=now_s, may_end_early=early)
    assert hours is not None
    assert now_s / 3600 <= hours.low * (1 + 1e-12)
    assert hours.low <= hours.expected <= hours.high
