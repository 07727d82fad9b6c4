"""Rework by preemptions: against arithmetic by hand, a simulation, brute force and the published intervals."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from manager.planner.preemption import (
    Preemption,
    best_interval_s,
    best_interval_steps,
    break_even_price_share,
    break_even_rate,
    daly_interval_s,
    expected_s,
    rework,
    young_interval_s,
)
from manager.planner.spot import SpotRun, spot_band

HOUR = 3600.0
USUAL = Preemption(rate_per_hour=0.1, checkpoint_s=30, recovery_s=600, wait_s=900)


def test_without_preemptions_only_the_checkpoints_are_added() -> None:
    calm = replace(USUAL, rate_per_hour=0)
    assert expected_s(HOUR, 600, calm) == HOUR + 6 * 30
    added = rework(HOUR, calm, before_s=300, after_s=100)
    assert (added.checkpoints, added.writing_s, added.lost_s, added.preemptions, added.waited_s) == (1, 30, 0, 0, 0)
    assert best_interval_s(HOUR, calm) == HOUR
    assert best_interval_steps(100, 36, calm) == 100


def test_the_complete_model_of_daly_is_reached_where_the_interval_divides_the_work() -> None:
    rate = 0.1 / HOUR
    by_hand = math.exp(rate * 600) * (math.exp(rate * 1830) - 1) / rate * 20
    assert expected_s(36_000, 1800, USUAL) == pytest.approx(by_hand, rel=1e-12)


def test_the_rest_of_a_division_is_a_shorter_segment() -> None:
    whole = expected_s(3600, 1800, USUAL)
    rest = expected_s(600, 600, USUAL)
    assert expected_s(4200, 1800, USUAL) == pytest.approx(whole + rest, rel=1e-12)
    assert rework(4200, USUAL, interval_s=1800).checkpoints == 3
    assert rework(600, USUAL, interval_s=1800).checkpoints == 1


def test_a_simulation_gives_the_same_billed_time_number_and_wait() -> None:
    chance = random.Random(7)
    often = Preemption(rate_per_hour=0.8, checkpoint_s=60, recovery_s=500, wait_s=400)
    before_s, work_s, after_s, interval_s = 700.0, 4 * HOUR, 400.0, 2000.0
    segments = [2000.0 + 60] * 7 + [400.0 + 60, after_s]
    total_s, number, runs = 0.0, 0, 20_000
    for _ in range(runs):
        billed_s, hits = _attempts(chance, often.rate_per_s, before_s, 0.0)
        for segment_s in segments:
            more_s, more = _attempts(chance, often.rate_per_s, segment_s, often.recovery_s)
            billed_s, hits = billed_s + more_s, hits + more
        total_s, number = total_s + billed_s, number + hits
    added = rework(work_s, often, before_s=before_s, after_s=after_s, interval_s=interval_s)
    assert before_s + work_s + after_s + added.added_s == pytest.approx(total_s / runs, rel=0.005)
    assert added.preemptions == pytest.approx(number / runs, rel=0.01)
    assert added.waited_s == pytest.approx(400 * added.preemptions)


def _attempts(chance: random.Random, rate: float, length_s: float, recovery_s: float) -> tuple[float, int]:
    """Billed time and preemptions until so much work came through; after the first it stands behind a recovery."""
    billed_s, hits = 0.0, 0
    while True:
        wanted_s = length_s + (recovery_s if hits else 0.0)
        lives_s = chance.expovariate(rate)
        if lives_s >= wanted_s:
            return billed_s + wanted_s, hits
        billed_s, hits = billed_s + lives_s, hits + 1


@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.3, 5.0, 60.0])
@pytest.mark.parametrize("write", [0.5, 20.0, 400.0])
def test_the_best_interval_is_that_of_brute_force(rate: float, write: float) -> None:
    preemption = Preemption(rate_per_hour=rate, checkpoint_s=write, recovery_s=0)
    work_s = 20 * HOUR
    best = min(range(1, 20_000), key=lambda parts: expected_s(work_s, work_s / parts, preemption))
    found_s = best_interval_s(work_s, preemption)
    least_s = expected_s(work_s, work_s / best, preemption)
    assert expected_s(work_s, found_s, preemption) <= least_s * (1 + 1e-12)


def test_whole_steps_are_as_good_as_any_other_number_of_steps() -> None:
    steps, step_s = 1500, 7.0
    every = best_interval_steps(steps, step_s, USUAL)
    least = min(expected_s(steps * step_s, k * step_s, USUAL) for k in range(1, steps + 1))
    # The last segment is shorter than the others where the interval does not divide the steps.
    assert expected_s(steps * step_s, every * step_s, USUAL) <= least * 1.001
    with pytest.raises(ValueError, match="steps"):
        best_interval_steps(0, 1.0, USUAL)


def test_published_intervals() -> None:
    """Young: sqrt(2 x 5 min x 24 h) = 2 h; Daly's is a little shorter, and his limit is one mean time."""
    preemption = Preemption(rate_per_hour=1 / 24, checkpoint_s=300, recovery_s=0)
    assert young_interval_s(preemption) == pytest.approx(2 * HOUR)
    assert daly_interval_s(preemption) == pytest.approx(7200 * (1 + math.sqrt(1 / 576) / 3 + 1 / 576 / 9) - 300)
    assert daly_interval_s(replace(preemption, checkpoint_s=50 * HOUR)) == 24 * HOUR
    exact_s = best_interval_s(1e9, preemption)
    assert abs(daly_interval_s(preemption) - exact_s) < 0.001 * exact_s < abs(young_interval_s(preemption) - exact_s)


def test_hopeless_rates_are_infinite_and_not_an_error() -> None:
    hopeless = replace(USUAL, rate_per_hour=1e7)
    added = rework(HOUR, hopeless)
    assert added.lost_s == added.preemptions == added.waited_s == added.wall_s == math.inf
    assert break_even_price_share(HOUR, hopeless, on_demand_s=HOUR) == 0


def test_checkpoints_that_take_no_time_are_written_often() -> None:
    free = replace(USUAL, checkpoint_s=0)
    assert best_interval_steps(1000, 1.0, free) == 1
    assert rework(HOUR, free).lost_s < rework(HOUR, free, interval_s=600).lost_s


def test_nodes_are_preempted_one_by_one() -> None:
    assert USUAL.on_nodes(4).rate_per_hour == pytest.approx(0.4)


@pytest.mark.parametrize("field", ["rate_per_hour", "checkpoint_s", "recovery_s", "wait_s"])
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_what_is_no_rate_or_time_is_refused(field: str, bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        replace(USUAL, **{field: bad})


def test_what_is_no_work_or_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="positive time"):
        rework(0, USUAL)
    with pytest.raises(ValueError, match="interval"):
        rework(HOUR, USUAL, interval_s=0)
    with pytest.raises(ValueError, match="price share"):
        break_even_rate(HOUR, USUAL, price_share=0, on_demand_s=HOUR)


def test_at_the_break_even_rate_both_cost_the_same() -> None:
    work_s, on_demand_s = 10 * HOUR, 10.5 * HOUR
    rate = break_even_rate(work_s, USUAL, price_share=0.7, on_demand_s=on_demand_s, before_s=600, after_s=300)
    assert rate is not None
    there = replace(USUAL, rate_per_hour=rate)
    share = break_even_price_share(work_s, there, on_demand_s=on_demand_s, before_s=600, after_s=300)
    assert share == pytest.approx(0.7, rel=1e-9)


def test_spot_that_is_not_cheaper_never_breaks_even() -> None:
    assert break_even_rate(HOUR, USUAL, price_share=1.0, on_demand_s=HOUR) is None
    assert break_even_rate(HOUR, USUAL, price_share=1.3, on_demand_s=HOUR) is None


USUAL_RUN = SpotRun(
    before_s=(300, 600, 1200),
    work_s=(8000, 10_000, 14_000),
    after_s=(60, 100, 300),
    checkpoint_s=(5, 10, 40),
    recovery_s=(250, 500, 1000),
    wait_s=(0, 600, 3600),
    rate_per_hour=(0.001, 0.05, 0.3),
)


def test_the_band_keeps_the_number_of_checkpoints_and_its_order() -> None:
    band = spot_band(USUAL_RUN)
    assert band.low.checkpoints == band.expected.checkpoints == band.high.checkpoints
    expected = Preemption(rate_per_hour=0.05, checkpoint_s=10, recovery_s=0)
    assert band.expected.interval_s == best_interval_s(10_000, expected)
    for low, middle, high in (band.writing_s, band.lost_s, band.preemptions):
        assert 0 < low < middle < high
    assert 0 == band.waited_s[0] < band.waited_s[1] < band.waited_s[2]


def test_the_band_takes_an_asked_interval_and_several_nodes() -> None:
    asked = spot_band(USUAL_RUN, interval_s=1000)
    assert (asked.expected.checkpoints, asked.high.interval_s) == (10, 1400)
    several = spot_band(USUAL_RUN._replace(nodes=8), interval_s=1000)
    assert several.lost_s[1] > 7 * asked.lost_s[1]
