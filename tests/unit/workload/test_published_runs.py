"""The formulas against runs that others measured and published; language-model heads and eager attention added here."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pytest

from manager.catalog.accelerators import accelerator
from manager.workload.build import build_profile
from manager.workload.device import Device, gpu_device
from manager.workload.layers import adapted_linears
from manager.workload.memory import memory_lines
from manager.workload.precision import precision_regime
from manager.workload.profile import WorkloadProfile
from manager.workload.time import step_seconds
from tests.support.plan_factory import make_data, make_shape, make_spec

_OLD_CONTEXT_BYTES = 1343 * 2**20
"""The context that the transformers page measured for its own machine."""


@dataclass(frozen=True)
class Published:
    """One row of the table, with the profile of its run."""

    row: dict[str, str]
    profile: WorkloadProfile

    @property
    def micro_batch(self) -> int:
        return int(self.row["micro_batch"])

    @property
    def tokens(self) -> int:
        return self.micro_batch * int(self.row["length"])


def _published() -> list[Published]:
    text = Path(__file__).with_name("published_runs.csv").read_text(encoding="utf-8")
    return [Published(row, _profile(row)) for row in csv.DictReader(text.splitlines())]


def _profile(row: dict[str, str]) -> WorkloadProfile:
    spec = make_spec(
        method=row["method"],
        precision=row["precision"],
        batch_size=int(row["micro_batch"]),
        rank=int(row["rank"] or 1),
        checkpointing=row["checkpointing"] == "yes",
    )
    profile = build_profile(spec, make_shape(row["model"]), make_data(tokens=int(row["length"])))
    if row["method"] != "lora":
        return profile
    adapted = replace(profile, adapted_linears=tuple(row["adapted"].split()))
    per_layer = sum(linear.adapter_parameters(spec.method.lora_rank) for linear in adapted_linears(adapted))
    return replace(adapted, trainable_parameters=profile.layers * per_layer)


def _predicted_bytes(run: Published) -> float:
    lines = memory_lines(run.profile, micro_batch=run.micro_batch, is_cpu=False)
    regime = precision_regime(run.profile.precision)
    total = float(lines.total)
    metric = run.row["memory_metric"]
    if metric == "allocated":
        total -= lines.context + lines.allocator_reserve
    elif metric == "reserved":
        total -= lines.context
    if run.row["head_vocabulary"]:
        # Logits, their float32 log-softmax, its gradient: see TRACING notes of the field on the loss chain.
        total += run.tokens * int(run.row["head_vocabulary"]) * (regime.compute + 8)
    if run.row["eager_attention"] == "yes":
        layers = 1 if run.profile.gradient_checkpointing else run.profile.layers
        heads, length = run.profile.attention_heads, int(run.row["length"])
        total += layers * run.micro_batch * heads * length**2 * (4 + regime.compute + 1)
        total += _OLD_CONTEXT_BYTES - lines.context
    return total


def _predicted_seconds(run: Published, device: Device) -> float:
    seconds = step_seconds(run.profile, device, micro_batch=run.micro_batch)
    passes = 3 if run.profile.method == "full" else 2
    head_flops = 2.0 * passes * run.profile.hidden_size * int(run.row["head_vocabulary"] or 0) * run.tokens
    return seconds + head_flops / device.matmul_flops_per_s


@pytest.mark.parametrize("run", _published(), ids=lambda run: f"{run.row['model']}-{run.row['method']}-{run.tokens}")
def test_peak_memory_is_near_each_published_run(run: Published) -> None:
    ratio = _predicted_bytes(run) / float(run.row["peak_memory_bytes"])
    assert 0.85 < ratio < 1.25


def test_peak_memory_errs_by_a_tenth_at_most_in_the_median() -> None:
    errors = [abs(_predicted_bytes(run) / float(run.row["peak_memory_bytes"]) - 1) for run in _published()]
    assert median(errors) < 0.10


@pytest.mark.parametrize(
    "run", [run for run in _published() if run.row["step_s"]], ids=lambda run: f"{run.row['gpu']}-{run.tokens}"
)
def test_step_time_lies_in_the_stated_band_of_each_published_run(run: Published) -> None:
    specification = accelerator(run.row["gpu"])
    assert specification is not None
    device = gpu_device(specification, precision=run.profile.precision, width=run.profile.hidden_size)
    assert device is not None
    seconds = _predicted_seconds(run, device)
    assert 0.6 * seconds <= float(run.row["step_s"]) <= 1.8 * seconds
