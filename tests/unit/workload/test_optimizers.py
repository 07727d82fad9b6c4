"""Formulas of optimizer memory against the optimizers themselves, on the CPU's real allocator."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from manager.workload.optimizers import optimizer_cost
from tasks.optimizers import new_optimizer
from tasks.step_trace import OPTIMIZERS, TensorSums
from tests.support.tensor_sums import peak_growth_bytes, tensor_sums

pytestmark = pytest.mark.torch

_ROUNDED_UP = 512
"""What the formula counts for a scalar of 4 bytes."""
_CPU_OPTIMIZERS = [name for name in OPTIMIZERS if name != "adamw-8bit"]


class _Tensors(torch.nn.Module):
    """One large matrix, some small ones, vectors: shapes as in a small encoder."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        shapes = [(2048, 256), (256,), (256, 256), (256,), (16, 64), (64, 32, 3), (5,)]
        self.all = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in shapes])


def stepped(name: str, dtype: torch.dtype) -> tuple[TensorSums, torch.optim.Optimizer]:
    model = _Tensors(dtype)
    optimizer = new_optimizer(model, name=name, learning_rate=1e-3, weight_decay=0.01, device_type="cpu")
    for group in optimizer.param_groups if name.startswith("sgd") else ():
        # What torch chooses by itself on a GPU.
        group["foreach"] = True
    for _ in range(2):
        for tensor in model.parameters():
            tensor.grad = torch.randn_like(tensor)
        optimizer.step()
    return tensor_sums(model.parameters()), optimizer


def state_bytes(optimizer: torch.optim.Optimizer) -> tuple[int, int]:
    """Bytes of tensors with more than one element, and the number of scalars."""
    kept: list[Any] = [one for state in optimizer.state.values() for one in state.values() if torch.is_tensor(one)]
    return sum(one.nbytes for one in kept if one.ndim), sum(not one.ndim for one in kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", _CPU_OPTIMIZERS)
def test_the_state_is_what_the_optimizer_keeps(name: str, dtype: torch.dtype) -> None:
    sums, optimizer = stepped(name, dtype)
    kept, scalars = state_bytes(optimizer)
    on_device = scalars if name in ("adamw", "adafactor") else 0
    assert optimizer_cost(name, sums).state_bytes == kept + on_device * _ROUNDED_UP


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", _CPU_OPTIMIZERS)
def test_the_update_needs_what_the_formula_says(name: str, dtype: torch.dtype) -> None:
    sums, optimizer = stepped(name, dtype)
    measured = peak_growth_bytes(optimizer.step)
    assert optimizer_cost(name, sums).update_bytes == pytest.approx(measured, rel=0.02, abs=8192)


def test_eight_bit_states_are_those_of_bitsandbytes() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = _Tensors(torch.float32)
    optimizer = bitsandbytes.optim.AdamW8bit(model.parameters())
    optimizer.check_overrides()
    for at, tensor in enumerate(model.parameters()):
        optimizer.init_state(optimizer.param_groups[0], tensor, 0, at)
    shared, own = {}, 0
    for state in optimizer.state.values():
        for key, tensor in state.items():
            if key.startswith("qmap"):
                shared[tensor.data_ptr()] = tensor.nbytes
            elif torch.is_tensor(tensor):
                own += tensor.nbytes
    expected = optimizer_cost("adamw-8bit", tensor_sums(model.parameters())).state_bytes
    assert expected == own + sum(shared.values())


def test_embeddings_are_in_eight_bits_as_the_program_trains_them() -> None:
    """transformers' Trainer keeps their moments in 32 bits by an override; the training program registers none."""
    pytest.importorskip("bitsandbytes")
    model = torch.nn.Sequential(torch.nn.Embedding(512, 16), torch.nn.Linear(16, 8))
    optimizer = new_optimizer(model, name="adamw-8bit", learning_rate=1e-3, weight_decay=0.01, device_type="cpu")
    model(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    states = {parameter: optimizer.state[parameter] for parameter in model.parameters()}
    kinds = [state["state1"].dtype for state in states.values()]
    assert kinds == [torch.uint8, torch.float32, torch.float32]
    shared = {state[key].data_ptr(): state[key].nbytes for state in states.values() for key in state if "qmap" in key}
    own = sum(
        value.nbytes for state in states.values() for key, value in state.items() if torch.is_tensor(value)
    ) - sum(state[key].nbytes for state in states.values() for key in state if "qmap" in key)
    expected = optimizer_cost("adamw-8bit", tensor_sums(model.parameters())).state_bytes
    assert expected == own + sum(shared.values())


def test_every_optimizer_of_the_contract_has_a_cost() -> None:
    sums = tensor_sums([torch.zeros(8, 4), torch.zeros(3)])
    assert all(optimizer_cost(name, sums).state_bytes >= 0 for name in OPTIMIZERS)
    with pytest.raises(KeyError):
        optimizer_cost("lion", sums)
