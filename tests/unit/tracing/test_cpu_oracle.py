"""The traced step against the same step on the CPU: peak of the allocator within 1 %, operations to the last one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from tasks.job import MethodChoice
from tasks.step_trace import StepTrace, TraceRequest, evaluate
from tasks.tracing import recorder
from tasks.tracing.fit import trace_step
from tasks.tracing.models import read_config
from tasks.tracing.recording import LIVE_COLUMNS, Recording
from tasks.tracing.traced_step import record_step
from tests.support.cpu_oracle import observe
from tests.support.tiny_configs import TINY_CASES, TinyCase
from tests.support.trace_sums import training_flops

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Convolutions of a CPU take a workspace per thread, which is no part of the step."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's allocator takes what is asked for, CUDA's rounds up."""
    monkeypatch.setattr(recorder, "BLOCK_BYTES", 1)


@pytest.mark.parametrize("case", TINY_CASES, ids=str)
def test_peak_and_operations_are_those_of_the_step(case: TinyCase) -> None:
    request = _request(case)
    traced = record_step(request, batch=case.batch, length=case.length)
    real = observe(request, batch=case.batch, length=case.length)
    assert _peak_of_step(traced) == pytest.approx(real.peak_bytes, rel=0.01)
    assert _training_flops(traced) == real.flops


REGIMES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llama-causal-lm", {"method": MethodChoice(kind="lora", lora_rank=8)}),
    "lora of a classifier": ("bert-text-classification", {"method": MethodChoice(kind="lora", lora_rank=8)}),
    "frozen": ("bert-text-classification", {"method": MethodChoice(kind="frozen")}),
    "gradual": ("bert-text-classification", {"method": MethodChoice(kind="gradual")}),
    "checkpointing": ("llama-causal-lm", {"gradient_checkpointing": True}),
    "checkpointing and lora": (
        "gpt2-causal-lm",
        {"method": MethodChoice(kind="lora", lora_rank=8), "gradient_checkpointing": True},
    ),
    "chunked loss": ("qwen2-causal-lm", {"loss": "chunked"}),
    "pure bf16": ("qwen2-causal-lm", {"precision": "bf16"}),
    "no padding": ("modernbert-text-classification", {"padded": False}),
    "adamw, many tensors at once": ("distilbert-text-classification", {"optimizer": "adamw-foreach"}),
    "adamw, one after the other": ("distilbert-text-classification", {"optimizer": "adamw-loop"}),
    "adafactor": ("distilbert-text-classification", {"optimizer": "adafactor"}),
    "momentum": ("distilbert-text-classification", {"optimizer": "sgd-momentum"}),
    "math attention": ("llama-causal-lm", {"attention": "math"}),
    "fused attention": ("vit-image-classification", {"attention": "auto"}),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_each_way_to_train_is_that_of_the_step(regime: str) -> None:
    name, options = REGIMES[regime]
    case = next(case for case in TINY_CASES if case.name == name)
    request = replace(_request(case), **options)
    traced = record_step(request, batch=case.batch, length=case.length)
    real = observe(request, batch=case.batch, length=case.length)
    assert _peak_of_step(traced) == pytest.approx(real.peak_bytes, rel=0.01)
    assert _training_flops(traced) == real.flops


@pytest.mark.parametrize(("batch", "length"), [(8, 128), (24, 128), (23, 120), (1, 100)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["llama-causal-lm", "qwen2-causal-lm", "gpt2-causal-lm"])
def test_slices_of_the_loss_are_those_of_the_step(name: str, precision: str, batch: int, length: int) -> None:
    """One full slice, three, two and a rest, less than one: recorded, and computed from few recordings."""
    request = _chunked(name, precision)
    traced = record_step(request, batch=batch, length=length)
    real = observe(request, batch=batch, length=length)
    assert _peak_of_step(traced) == pytest.approx(real.peak_bytes, rel=0.01)
    assert _training_flops(traced) == real.flops
    whole = _whole(name, precision)
    peak = max(
        sum(evaluate(line, batch=batch, length=length) for name, line in point.lines.items() if name != "inputs")
        for point in whole.memory
        if point.phase != "evaluation"
    )
    assert peak == pytest.approx(real.peak_bytes, rel=0.01)
    assert training_flops(whole, batch=batch, length=length) == pytest.approx(real.flops, rel=1e-9)


def _chunked(name: str, precision: str) -> TraceRequest:
    case = next(case for case in TINY_CASES if case.name == name)
    return replace(_request(case), loss="chunked", precision=precision)


@lru_cache
def _whole(name: str, precision: str) -> StepTrace:
    request = _chunked(name, precision)
    return trace_step(request, config=read_config(request).to_dict(), record=record_step)


def _request(case: TinyCase) -> TraceRequest:
    return TraceRequest(
        config=case.config,
        task=case.task,
        method=MethodChoice(kind="full"),
        precision="fp32",
        attention="eager",
        kernels="cpu",
    )


def _peak_of_step(recording: Recording) -> int:
    is_training = np.array([phase != "evaluation" for phase in recording.phases])
    inputs = LIVE_COLUMNS.index("inputs")
    sums = recording.live_bytes.sum(axis=1) - recording.live_bytes[:, inputs]
    return int(sums[is_training].max())


def _training_flops(recording: Recording) -> int:
    is_training = np.array([phase != "evaluation" for phase in recording.phases])
    return int(recording.flops[is_training].sum())
