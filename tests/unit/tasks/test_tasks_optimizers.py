"""Optimizers by name: they update, decay what they should, and go on bit for bit after a checkpoint."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import nn

import tasks.loop
from tasks import checkpoint
from tasks.checkpoint import Progress
from tasks.failures import TaskError
from tasks.job import Job
from tasks.optimizer_state import set_state, state_of
from tasks.optimizers import OPTIMIZERS, new_optimizer
from tasks.precision import cast_weights
from tasks.protocol import Event, EventType
from tasks.restoring import open_saved, put_back
from tasks.step import update
from tasks.step_trace import OPTIMIZERS as TRACED_OPTIMIZERS

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch


def a_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    """72 x 64 weights, which 8-bit optimizers quantize, and biases, which they do not."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 72), nn.Tanh(), nn.Linear(72, 2))
    cast_weights(model, dtype)
    return model


def made(model: nn.Module, name: str, *, weight_decay: float = 0.1) -> torch.optim.Optimizer:
    return new_optimizer(model, name=name, learning_rate=1e-2, weight_decay=weight_decay, device_type="cpu")


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, *, start: int = 0) -> None:
    for number in range(start, start + count):
        inputs = torch.randn(4, 64, generator=torch.Generator().manual_seed(number))
        model(inputs.to(next(model.parameters()).dtype)).square().sum().backward()
        update(optimizer, max_grad_norm=1.0)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_the_tracer_knows_the_same_names() -> None:
    assert tuple(OPTIMIZERS) == TRACED_OPTIMIZERS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_goes_on_bit_for_bit(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    unbroken = a_model(dtype)
    optimizer = made(unbroken, name)
    before = weights(unbroken)
    steps(unbroken, optimizer, 3)
    checkpoint.save(tmp_path, Progress(step=3), unbroken, optimizer, [checkpoint.capture_rng()])
    steps(unbroken, optimizer, 3, start=3)

    resumed = a_model(dtype)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    again = made(resumed, name)
    progress = put_back(
        open_saved(checkpoint.at_step(tmp_path, 3), resumed, again), resumed, again, Accelerator(cpu=True)
    )
    assert progress.step == 3
    steps(resumed, again, 3, start=3)
    for old, expected, found in zip(before, weights(unbroken), weights(resumed), strict=True):
        assert torch.equal(found, expected)
        assert not torch.equal(old, expected)


def test_moments_keep_their_own_types(tmp_path: Path) -> None:
    model = a_model(torch.bfloat16)
    optimizer = made(model, "adafactor")
    steps(model, optimizer, 1)
    kept = state_of(model, optimizer)
    assert {tensor.dtype for key, tensor in kept.tensors.items() if "exp_avg" in key} == {torch.float32}
    assert {value for key, value in kept.numbers.items() if key.endswith("/step")} == {1}
    set_state(model, optimizer, kept)
    again = state_of(model, optimizer)
    assert again.numbers == kept.numbers
    assert {key: tensor.dtype for key, tensor in again.tensors.items()} == {
        key: tensor.dtype for key, tensor in kept.tensors.items()
    }


def test_a_state_of_another_model_is_refused() -> None:
    model = a_model()
    optimizer = made(model, "adamw")
    steps(model, optimizer, 1)
    kept = state_of(model, optimizer)
    other = nn.Sequential(nn.Linear(64, 72))
    with pytest.raises(ValueError, match="not that of the model"):
        set_state(other, made(other, "adamw"), kept)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_matrices_decay(name: str) -> None:
    changes = []
    for weight_decay in (0.0, 5.0):
        model = a_model()
        optimizer = made(model, name, weight_decay=weight_decay)
        steps(model, optimizer, 1)
        changes.append(dict(model.named_parameters()))
    plain, decayed = changes
    assert torch.equal(plain["0.bias"], decayed["0.bias"])
    assert not torch.equal(plain["0.weight"], decayed["0.weight"])
    assert decayed["0.weight"].norm() < plain["0.weight"].norm()


def test_the_step_returns_the_norm_before_clipping_and_drops_gradients() -> None:
    model = a_model()
    optimizer = made(model, "sgd", weight_decay=0.0)
    model(torch.ones(1, 64)).sum().backward()
    expected = torch.stack([part.grad.norm() for part in model.parameters() if part.grad is not None]).norm()
    before = weights(model)
    norm = update(optimizer, max_grad_norm=0.5)
    assert norm.item() == pytest.approx(expected.item(), rel=1e-5)
    assert norm.item() > 0.5
    assert all(part.grad is None for part in model.parameters())
    moved = torch.stack([(old - new).norm() for old, new in zip(before, weights(model), strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-2 * 0.5, rel=1e-3)


def test_a_scaler_passes_over_gradients_that_overflowed(tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    model = a_model()
    optimizer = made(model, "adamw")
    before = weights(model)
    scaler.scale(model(torch.full((1, 64), float("inf"))).sum()).backward()
    assert not torch.isfinite(update(optimizer, max_grad_norm=1.0, scaler=scaler))
    assert all(torch.equal(old, new) for old, new in zip(before, weights(model), strict=True))
    assert scaler.get_scale() == 4.0

    def scaled_step() -> None:
        scaler.scale(model(torch.ones(1, 64)).sum()).backward()
        update(optimizer, max_grad_norm=1.0, scaler=scaler)

    scaled_step()
    assert not torch.equal(before[0], weights(model)[0])
    checkpoint.save(tmp_path, Progress(step=2), model, optimizer, [checkpoint.capture_rng()], scaler)
    fresh = torch.amp.GradScaler("cpu")
    saved = open_saved(checkpoint.at_step(tmp_path, 2), model, optimizer)
    put_back(saved, model, optimizer, Accelerator(cpu=True), fresh)
    assert fresh.state_dict() == scaler.state_dict()
    scaled_step()
    assert scaler.get_scale() == 8.0


def test_scaled_gradients_are_clipped_at_their_true_size() -> None:
    moved = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**12)):
        model = a_model()
        optimizer = made(model, "sgd", weight_decay=0.0)
        loss = model(torch.ones(1, 64)).sum()
        (loss if scaler is None else scaler.scale(loss)).backward()
        norm = update(optimizer, max_grad_norm=0.5, scaler=scaler)
        moved.append([norm, *weights(model)])
    for plain, scaled in zip(*moved, strict=True):
        torch.testing.assert_close(scaled, plain)


def test_eight_bits_need_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(TaskError, match="adamw-8bit") as raised:
        made(a_model(), "adamw-8bit")
    assert "Install bitsandbytes" in str(raised.value.hint)


def test_eight_bits_take_less_memory() -> None:
    sizes = {}
    for name in ("adamw", "adamw-8bit"):
        model = a_model()
        optimizer = made(model, name)
        steps(model, optimizer, 1)
        kept = state_of(model, optimizer).tensors
        sizes[name] = sum(
            value.nbytes for key, value in kept.items() if key.startswith("0.weight") and "map" not in key
        )
    assert sizes["adamw"] == 2 * 4 * 64 * 72 + 4
    # Two moments in a byte each, with a float32 scale for each block of 256.
    assert sizes["adamw-8bit"] == 2 * (64 * 72 + 4 * 64 * 72 // 256)


@pytest.mark.parametrize("name", ["adafactor", "sgd-momentum", "adamw-8bit"])
def test_a_stopped_run_goes_on_with_its_optimizer(
    name: str,
    job: Job,
    run_train: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training_with: Callable[..., Job],
) -> None:
    job = training_with(job, optimizer=name, learning_rate=1e-3)
    assert run_train(job, tmp_path / "unbroken")[0] == 0
    original, calls = tasks.loop._optimizer_step, [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", step)
    run_train(job, tmp_path / "broken")
    monkeypatch.undo()
    _, resumed = run_train(job, tmp_path / "broken")
    started = [event.data["resumed_from_step"] for event in resumed if event.type is EventType.STARTED]
    assert started == [None, 5]
    file = "model/model.safetensors"
    assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()
    card = (tmp_path / "broken" / "model" / "README.md").read_text(encoding="utf-8")
    assert f"optimizer: {name}" in card


def test_an_unknown_optimizer_is_refused(job: Job, run_train: Run, tmp_path: Path) -> None:
    wrong = replace(job, training=replace(job.training, optimizer="adamw8"))
    status, events = run_train(wrong, tmp_path / "out")
    assert status == 2
    assert "training.optimizer" in events[-1].data["message"]
    assert json.dumps(events[-1].data["hint"])
