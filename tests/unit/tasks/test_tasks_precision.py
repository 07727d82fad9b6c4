"""Types of weights, autocast and gradient scaling, and which attention kernel a model is loaded with."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import nn

import tasks.loop
from tasks import loading, opening, run
from tasks.failures import TaskError
from tasks.job import Job
from tasks.loading import check_attention
from tasks.losses import label_loss_sum
from tasks.opening import start_accelerator
from tasks.precision import AUTOCAST, PRECISIONS, cast_weights
from tasks.protocol import Event, EventType
from tasks.text_classification import load
from tests.support.asked_accelerator import asking

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch


class WithBuffers(nn.Module):
    """A weight, a stored buffer, one that is computed, one of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("stored", torch.ones(2))
        self.register_buffer("computed", torch.ones(2), persistent=False)
        self.register_buffer("count", torch.ones(2, dtype=torch.long))


def test_computed_buffers_keep_their_type() -> None:
    model = nn.Sequential(WithBuffers())
    cast_weights(model, torch.bfloat16)
    types = {name: value.dtype for name, value in (*model.named_parameters(), *model.named_buffers())}
    assert types == {
        "0.weight": torch.bfloat16,
        "0.stored": torch.bfloat16,
        "0.computed": torch.float32,
        "0.count": torch.int64,
    }


def test_rotary_positions_stay_exact_in_bf16() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    before = model.model.rotary_emb.inv_freq.clone()
    cast_weights(model, torch.bfloat16)
    assert torch.equal(model.model.rotary_emb.inv_freq, before)
    assert model.lm_head.weight.dtype == torch.bfloat16


def test_accelerate_is_told_the_autocast_type(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(opening, "Accelerator", asking(asked))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    for precision in PRECISIONS:
        start_accelerator(replace(job, training=replace(job.training, precision=precision)))
    told = [settings["mixed_precision"] for settings in asked]
    assert told == [AUTOCAST.get(precision, "no") for precision in PRECISIONS]
    assert told == ["no", "bf16", "fp16", "no"]


def test_fp16_on_a_gpu_without_bfloat16_is_allowed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "Accelerator", asking([]))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: False)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla T4")
    start_accelerator(replace(job, training=replace(job.training, precision="fp16-mixed")))
    with pytest.raises(TaskError, match="Tesla T4"):
        start_accelerator(replace(job, training=replace(job.training, precision="bf16-mixed")))


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"precision": "fp16-mixed"}, "is for CUDA devices"),
        ({"precision": "fp16"}, "fp16 is not trained"),
        ({"precision": "bf16", "attention": "flash_attention_2"}, "runs on CUDA only"),
        ({"attention": "flash"}, "training.attention is 'flash'"),
        ({"loss": "chunked"}, "training.loss"),
    ],
)
def test_what_a_cpu_cannot_do_is_refused(
    values: dict[str, Any], part: str, job: Job, run_train: Run, tmp_path: Path, training_with: Callable[..., Job]
) -> None:
    status, events = run_train(training_with(replace(job, device="cpu"), **values), tmp_path / "out")
    assert (status, events[-1].data["code"]) == (2, "bad_job")
    assert part in events[-1].data["message"]


def test_flash_attention_needs_its_package_and_16_bits(
    job: Job, monkeypatch: pytest.MonkeyPatch, training_with: Callable[..., Job]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    asked = training_with(job, attention="flash_attention_2", precision="bf16-mixed")
    monkeypatch.setattr(loading, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None)))
    with pytest.raises(TaskError, match="flash-attn is not installed"):
        check_attention(asked)
    monkeypatch.setattr(loading, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: name)))
    check_attention(asked)
    with pytest.raises(TaskError, match="16 bits"):
        check_attention(training_with(asked, precision="fp32"))


def test_the_model_is_loaded_with_the_attention_asked_for(job: Job, training_with: Callable[..., Job]) -> None:
    logits, kinds = [], []
    for attention in ("auto", "eager", "sdpa"):
        task = load(training_with(job, attention=attention), lambda code, message: None)
        torch.manual_seed(0)
        model: Any = task.new_model().model.eval()
        kinds.append(model.config._attn_implementation)
        inputs = task.inputs(task.test, task.test.lengths.argsort()[:3])
        logits.append(model(**inputs).logits)
    assert kinds == ["sdpa", "eager", "sdpa"]
    torch.testing.assert_close(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_logits_of_16_bits_get_a_float32_loss() -> None:
    logits = torch.tensor([[100.0, 0.0, 0.25]], dtype=torch.bfloat16)
    assert label_loss_sum(logits, torch.tensor([2])).dtype == torch.float32


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> list[torch.amp.GradScaler]:
    """Has runs on the CPU scale their gradients as fp16-mixed does on a GPU; gives the scalers."""
    scalers: list[torch.amp.GradScaler] = []

    def start(job: Job) -> Accelerator:
        accelerator = Accelerator(cpu=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=4)
        accelerator.scaler = scaler
        backward = accelerator.backward
        # Stands for the range of float16: above this scale gradients overflow.
        accelerator.backward = lambda loss: backward(loss * (math.inf if scaler.get_scale() > 2.0**10 else 1.0))
        scalers.append(scaler)
        return accelerator

    monkeypatch.setattr(run, "start_accelerator", start)
    return scalers


def test_a_scaled_run_passes_over_overflows_and_goes_on_bit_for_bit(
    scaled: list[torch.amp.GradScaler], job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, unbroken = run_train(job, tmp_path / "unbroken")
    assert status == 0
    norms = [event.data["grad_norm"] for event in unbroken if event.type is EventType.TRAIN]
    # Halved twice at first; grown, and halved again, after four good steps each time.
    assert [number for number, norm in enumerate(norms) if norm is None] == [0, 1, 6, 11, 16]
    assert all(norm is None or math.isfinite(norm) for norm in norms)
    original, calls = tasks.loop._optimizer_step, [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", step)
    run_train(job, tmp_path / "broken")
    monkeypatch.setattr(tasks.loop, "_optimizer_step", original)
    _, resumed = run_train(job, tmp_path / "broken")
    assert [event.data["grad_norm"] for event in resumed if event.type is EventType.TRAIN] == norms
    assert scaled[-1].get_scale() == scaled[0].get_scale()
    file = "model/model.safetensors"
    assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()
