"""Hours of the probe: what `tasks.probe` times, as often as it does, and no longer than it may last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.phases import PhaseBook
from manager.prices.offer import Offer
from manager.workload.profile import PaddedMean
from tasks.job import ProbeChoice
from tests.support.plan_factory import make_cpu_offer, make_data, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import judge_machine

STEPS = ProbeChoice().steps


def _seconds(on: Offer | None = None, **training: Any) -> tuple[dict[str, tuple[float, float, float]], int]:
    """Low, expected and high seconds of each phase, and the run's optimizer steps; samples are 100 or 400 tokens."""
    spec = make_spec(**training)
    means = (PaddedMean(samples=1, tokens=100.0), PaddedMean(samples=spec.training.batch_size, tokens=100.0))
    data = replace(make_data(), padded_means=means, padded_mean_tokens=100.0, mean_tokens=100.0, longest_tokens=400)
    profile = make_profile("minilm", spec, data)
    offer = on or make_gpu_offer("L4")
    card = offer.accelerator and accelerator(offer.accelerator)
    found = judge_machine(profile, make_traces("minilm", spec), offer, card or None, shipped_assumptions(), None)
    return {phase.name: (phase.low_s, phase.expected_s, phase.high_s) for phase in found.timed}, profile.steps


@pytest.mark.parametrize(("micro_batch", "heavy"), [(16, 2.0), (8, 2.0), (4, 1.5), (2, 1.25)])
def test_the_longest_batch_is_stepped_twice_the_first_time_two_micro_batches_of_it(
    micro_batch: int, heavy: float
) -> None:
    seconds, steps = _seconds(batch_size=16, micro_batch=micro_batch)
    low, expected, high = seconds["probe"]
    step = [whole / steps for whole in seconds["training"]]
    # The low end has the longest samples no longer than the mean, the others four times as long.
    assert low > (STEPS + heavy) * step[0]
    assert expected > (STEPS + 4 * heavy) * step[1]
    assert high > (STEPS + 4 * heavy) * step[2]
    # What is left is one batch of an evaluation and one checkpoint.
    assert expected - (STEPS + 4 * heavy) * step[1] < 4 * seconds["evaluation"][1] + seconds["checkpoints"][1]


def test_it_ends_after_two_minutes_whatever_a_step_takes() -> None:
    seconds, steps = _seconds(batch_size=8192, micro_batch=4, on=make_cpu_offer())
    assert min(seconds["training"]) / steps > ProbeChoice().longest_s
    assert seconds["probe"] == (ProbeChoice().longest_s,) * 3


def test_a_run_of_fewer_steps_than_are_timed_has_no_more_of_them() -> None:
    seconds, steps = _seconds(batch_size=make_data().train_samples, micro_batch=4, epochs=1)
    assert steps == 1
    step_s = seconds["training"][0]
    assert 2 * step_s < seconds["probe"][0] < 3 * step_s


def test_a_machine_after_a_preemption_does_not_probe_again() -> None:
    spec = make_spec()
    profile = make_profile("minilm", spec, make_data())
    found = judge_machine(profile, make_traces("minilm", spec), make_gpu_offer("L4"), accelerator("L4"),
                          shipped_assumptions(), None)  # fmt: skip
    run = PhaseBook(assumptions=shipped_assumptions()).spot_run(found.judgement, cloud="aws", calibration=None)
    seconds = {phase.name: phase.expected_s for phase in found.timed}
    again = sum(seconds[name] for name in ("boot", "setup", "download", "start", "data"))
    assert run.recovery_s[1] == pytest.approx(again)
    assert run.before_s[1] == pytest.approx(again + seconds["probe"] + seconds["baseline"])
