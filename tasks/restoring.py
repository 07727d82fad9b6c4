"""Puts a checkpoint back into model, optimizer and generators: the first process reads it, each keeps its part.

A checkpoint is opened and checked against the model before anything of it is put anywhere, so that a damaged one can be
left for the one before it. Tensors are read one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from tasks.checkpoint import STATE_VERSION, Progress, Rng, learned_tensors, restore_rng
from tasks.optimizer_state import OptimizerState, check_names, learned_names, set_state
from tasks.sharding import part_like
from tasks.tensor_files import TYPES
from tasks.together import from_first, share

DAMAGED = (OSError, ValueError, KeyError, TypeError, SafetensorError)
"""What opening a damaged checkpoint raises."""

Read = Callable[[str], torch.Tensor]
"""A tensor of a file by its name."""
Outline = dict[str, tuple[torch.Size, torch.dtype]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """An opened checkpoint that fits the model."""

    weights: Read
    moments: Read
    moments_outline: Outline
    state: dict[str, Any]
    """Of state.json."""
    rngs: list[Rng]


def open_weights(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Read:
    """The learned tensors of a checkpoint.

    Raises:
        OSError, ValueError, SafetensorError: damaged, or of another model.
    """
    file: Any = safe_open(folder / "model.safetensors", framework="pt")
    expected = learned_tensors(model, optimizer)
    if set(file.keys()) != expected.keys():
        raise ValueError("the checkpoint's parameters are not those of the model")
    for name, tensor in expected.items():
        shape = tuple(file.get_slice(name).get_shape())
        if shape != tuple(tensor.shape):
            raise ValueError(f"the checkpoint's {name} has the shape {shape}")
    read: Read = file.get_tensor
    return read


def open_saved(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Saved:
    """A whole checkpoint.

    Raises:
        OSError, ValueError, KeyError, SafetensorError: the checkpoint is damaged or of another model.
    """
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state["schema"] != STATE_VERSION:
        raise ValueError(f"checkpoint of schema {state['schema']}")
    moments: Any = safe_open(folder / "optimizer.safetensors", framework="pt")
    check_names(model, optimizer, (*moments.keys(), *state.get("optimizer", {})))
    generators = load_file(folder / "rng.safetensors")
    return Saved(
        weights=open_weights(folder, model, optimizer),
        moments=moments.get_tensor,
        moments_outline={name: _outline(moments.get_slice(name)) for name in sorted(moments.keys())},
        state={"progress": Progress(**state["progress"]), **{key: state.get(key) for key in ("optimizer", "scaler")}},
        rngs=[
            Rng(
                torch={
                    name.partition("/")[2]: value for name, value in generators.items() if name.startswith(f"{rank}/")
                },
                **rng,
            )
            for rank, rng in enumerate(state["rng"])
        ],
    )


def put_back(
    saved: Saved | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    scaler: torch.amp.GradScaler | None = None,
) -> Progress:
    """Put a checkpoint into model, optimizer, scaler and this process's generators; all processes call it.

    A process that the checkpoint does not know (more devices than before) keeps its own generators.

    Args:
        saved: the checkpoint, on the first process; None on the others.
        model: as it is trained.
        optimizer: its own.
        accelerator: of all processes.
        scaler: that scales the losses, or None.
    """
    put_weights(None if saved is None else saved.weights, model, optimizer, accelerator)
    outline: Outline
    outline, state, rngs = from_first(
        accelerator, ({}, {}, []) if saved is None else (saved.moments_outline, saved.state, saved.rngs)
    )
    names = learned_names(model, optimizer)
    parameters = {names[id(part)]: part for group in optimizer.param_groups for part in group["params"]}
    moments: dict[str, torch.Tensor] = {}
    for key, (shape, dtype) in outline.items():
        parameter = parameters[key.rpartition("/")[0]]
        value = _shared(None if saved is None else saved.moments(key), shape, dtype, accelerator)
        moments[key] = part_like(value, parameter) if shape == parameter.shape else value
    set_state(model, optimizer, OptimizerState(tensors=moments, numbers=state["optimizer"] or {}))
    if scaler is not None and state["scaler"] is not None:
        scaler.load_state_dict(state["scaler"])
    if accelerator.process_index < len(rngs):
        restore_rng(rngs[accelerator.process_index])
    progress: Progress = state["progress"]
    return progress


def put_weights(
    read: Read | None, model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> None:
    """Put the learned tensors of a checkpoint into the model; all processes call it, the first one with a reader."""
    with torch.no_grad():
        for name, tensor in learned_tensors(model, optimizer).items():
            values = _shared(None if read is None else read(name), tensor.shape, tensor.dtype, accelerator)
            tensor.copy_(part_like(values, tensor))


def _shared(
    value: torch.Tensor | None, shape: torch.Size, dtype: torch.dtype, accelerator: Accelerator
) -> torch.Tensor:
    """The first process's tensor on all of them, whole, on the run's device."""
    if value is None:
        value = torch.empty(shape, dtype=dtype, device=accelerator.device)
    elif accelerator.num_processes > 1:
        value = value.to(accelerator.device, dtype)
    share(accelerator, value)
    return value


def _outline(part: Any) -> tuple[torch.Size, torch.dtype]:
    return torch.Size(part.get_shape()), TYPES[part.get_dtype()]
