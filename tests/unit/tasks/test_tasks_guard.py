"""The trainer's own caps, on a clock that the test moves."""

from __future__ import annotations

import pytest

from tasks.guard import Guard
from tasks.job import GuardChoice


class Clock:
    """Unix time that stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("choice", "limit_s"),
    [
        (GuardChoice(), None),
        (GuardChoice(max_usd=1.0), None),
        (GuardChoice(max_usd=1.0, price_usd_per_hour=0.0), None),
        (GuardChoice(max_usd=1.0, price_usd_per_hour=2.0), 1800.0),
        (GuardChoice(max_usd=1.0, price_usd_per_hour=2.0, max_duration_s=60.0), 60.0),
        (GuardChoice(max_usd=0.01, price_usd_per_hour=3.6, max_duration_s=60.0), pytest.approx(10.0)),
    ],
)
def test_the_tighter_cap_is_the_limit(choice: GuardChoice, limit_s: float | None) -> None:
    assert Guard(choice, clock=Clock()).limit_s == limit_s


def test_time_on_the_bill_before_the_program_counts() -> None:
    clock = Clock()
    guard = Guard(GuardChoice(max_duration_s=100.0, billing_started_s=950.0, price_usd_per_hour=36.0), clock=clock)
    assert guard.left_s() == 50.0
    assert guard.cost_usd(guard.billed_s()) == 0.5
    clock.now = 1047.0
    assert not guard.must_stop()
    assert guard.must_stop(next_s=1.0)
    clock.now = 1048.0
    assert guard.must_stop()
    assert guard.is_spent()


def test_the_reserve_ends_training_but_not_what_it_is_kept_for() -> None:
    clock = Clock()
    guard = Guard(GuardChoice(max_duration_s=100.0), clock=clock)
    guard.reserve_s = 30.0
    clock.now = 1068.0
    assert guard.must_stop()
    assert not guard.is_spent()


def test_no_cap_never_stops() -> None:
    clock = Clock()
    guard = Guard(GuardChoice(price_usd_per_hour=5.0), clock=clock)
    clock.now += 1e9
    assert not guard.must_stop(1e9)
    assert guard.projection(1e9) is None


def test_a_projection_over_the_cap_is_told_once() -> None:
    guard = Guard(GuardChoice(max_usd=1.0, price_usd_per_hour=3.6), clock=Clock())
    assert guard.projection(999.0) is None
    warning = guard.projection(2000.0)
    assert warning is not None
    assert "($2.0000) where its caps leave" in warning
    assert "($1.0000) to the training program" in warning
    assert guard.projection(3000.0) is None


def test_an_unknown_price_is_not_free() -> None:
    assert Guard(GuardChoice(max_duration_s=5.0), clock=Clock()).cost_usd(10.0) is None
