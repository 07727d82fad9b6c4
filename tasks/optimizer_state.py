"""The state of any optimizer as named tensors and plain numbers, and back, bit for bit.

torch's own `load_state_dict` casts moments to the type of their weights, by which Adafactor's float32 moments over
bfloat16 weights lose bits and 8-bit moments all meaning; here each keeps its type. Of divided weights the moments are
divided like them; a file holds them whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.tensor import DTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerState:
    """What an optimizer keeps, by `parameter/slot`."""

    tensors: dict[str, torch.Tensor]
    """No two share memory."""
    numbers: dict[str, int | float]
    """Slots that are numbers of Python: counts of steps, in some optimizers."""


def learned_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, str]:
    """Names of the parameters that the optimizer holds, by `id`; some may not learn yet."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return {id(parameter): name for name, parameter in model.named_parameters() if id(parameter) in held}


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> OptimizerState:
    """The state of the parameters that have had a gradient."""
    names = learned_names(model, optimizer)
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, int | float] = {}
    seen: set[int] = set()
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            key = f"{names[id(parameter)]}/{slot}"
            if isinstance(value, DTensor):
                tensors[key] = value.detach()
            elif isinstance(value, torch.Tensor):
                # Tables of the 8-bit optimizers serve all parameters; the file holds each tensor by itself.
                is_shared = value.data_ptr() in seen
                seen.add(value.data_ptr())
                tensors[key] = value.detach().clone() if is_shared else value.detach().contiguous()
            elif isinstance(value, int | float):
                numbers[key] = value
            elif value is not None:
                raise TypeError(f"optimizer state {slot} is a {type(value).__name__}")
    return OptimizerState(tensors=tensors, numbers=numbers)


def set_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: OptimizerState) -> None:
    """Give the optimizer a state that `state_of` made, of the same model, divided as its weights are.

    Raises:
        ValueError: it names parameters that the optimizer does not hold.
    """
    names = learned_names(model, optimizer)
    check_names(model, optimizer, (*state.tensors, *state.numbers))
    slots: dict[str, dict[str, torch.Tensor | int | float]] = {}
    for key, value in (*state.tensors.items(), *state.numbers.items()):
        name, _, slot = key.rpartition("/")
        slots.setdefault(name, {})[slot] = value
    optimizer.state.clear()
    for group in optimizer.param_groups:
        counts_on_device = bool(group.get("fused") or group.get("capturable"))
        for parameter in group["params"]:
            own = slots.get(names[id(parameter)])
            if own is not None:
                optimizer.state[parameter] = {
                    slot: value.to("cpu" if slot == "step" and not counts_on_device else parameter.device)
                    if isinstance(value, torch.Tensor)
                    else value
                    for slot, value in own.items()
                }


def check_names(model: nn.Module, optimizer: torch.optim.Optimizer, keys: Iterable[str]) -> None:
    """Refuse a state of another model.

    Raises:
        ValueError: it names parameters that the optimizer does not hold.
    """
    if not {key.rpartition("/")[0] for key in keys} <= set(learned_names(model, optimizer).values()):
        raise ValueError("the checkpoint's optimizer state is not that of the model")
