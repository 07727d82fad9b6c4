"""Hours of evaluation: rows of its passes, on all devices, padded as so many samples are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner import judge
from manager.planner.assumptions import shipped_assumptions
from manager.workload.profile import PaddedMean
from manager.workload.roofline import evaluation_seconds
from tests.support.plan_factory import make_data, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import judge_machine

MEANS = {1: 100.0, 2: 120.0, 4: 140.0, 8: 160.0, 16: 180.0}
"""Longest sample of so many, on average."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the roofline was asked for evaluations."""
    calls: list[dict[str, Any]] = []

    def spied(*arguments: Any, **named: Any) -> float:
        calls.append(named)
        return evaluation_seconds(*arguments, **named)

    monkeypatch.setattr(judge, "evaluation_seconds", spied)
    return calls


@pytest.mark.parametrize(("devices", "length"), [(1, 120.0), (2, 140.0), (4, 160.0)])
def test_passes_have_twice_the_rows_and_are_padded_over_all_devices(
    asked: list[dict[str, Any]], devices: int, length: float
) -> None:
    spec = make_spec(batch_size=16, micro_batch=1)
    means = tuple(PaddedMean(samples=samples, tokens=tokens) for samples, tokens in MEANS.items())
    data = replace(make_data(), padded_means=means, padded_mean_tokens=MEANS[16])
    profile = make_profile("minilm", spec, data)
    offer = make_gpu_offer("L4", count=devices)
    found = judge_machine(profile, make_traces("minilm", spec), offer, accelerator("L4"), shipped_assumptions(), None)
    assert [(call["batch"], call["replicas"], call["length"]) for call in asked] == [(2.0, devices, length)] * 2
    # The test set, of the untouched and of the tuned model alike, and the validation set.
    assert [call["samples"] for call in asked] == [data.test_samples, data.validation_samples]
    seconds = {phase.name: phase.expected_s for phase in found.timed}
    assert seconds["baseline"] == seconds["final"] > 0
    each = found.judgement.seconds
    assert each is not None
    assert each.total_s == pytest.approx(each.training_s + each.validation_s + 2 * each.test_s)
    assert each.validation_s == pytest.approx(profile.evaluations * each.test_s)
