"""Optimizers by name, with the groups that decay; what a step needs beyond that is in `step`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tasks.failures import TaskError
from tasks.protocol import FailureCode

MOMENTUM = 0.9
"""Of `sgd-momentum`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """What an optimizer is made with."""

    groups: list[dict[str, Any]]
    learning_rate: float
    device_type: str


def new_optimizer(
    model: nn.Module, *, name: str, learning_rate: float, weight_decay: float, device_type: str
) -> torch.optim.Optimizer:
    """An optimizer over the parameters that learn; biases and norms, one-dimensional, do not decay.

    Args:
        model: prepared by its method, on its device.
        name: one of OPTIMIZERS.
        learning_rate: of the first step; the loop sets it before each step.
        weight_decay: of tensors with two or more dimensions.
        device_type: cpu, cuda, meta ...: where the parameters are.

    Raises:
        TaskError: bad_job, when there is no such optimizer here.
    """
    make = OPTIMIZERS.get(name)
    if make is None:
        raise TaskError(
            FailureCode.BAD_JOB, f"There is no optimizer {name!r}.", hint=f"Optimizers are {', '.join(OPTIMIZERS)}."
        )
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [part for part in learned if part.ndim > 1], "weight_decay": weight_decay},
        {"params": [part for part in learned if part.ndim <= 1], "weight_decay": 0.0},
    ]
    return make(_Recipe(groups=groups, learning_rate=learning_rate, device_type=device_type))


def _adamw(recipe: _Recipe) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), one kernel over all parameters where the device has it."""
    is_fused = recipe.device_type in ("cpu", "cuda")
    return torch.optim.AdamW(recipe.groups, lr=recipe.learning_rate, fused=is_fused)


def _adamw_foreach(recipe: _Recipe) -> torch.optim.Optimizer:
    """AdamW, one kernel per operation over all parameters."""
    return torch.optim.AdamW(recipe.groups, lr=recipe.learning_rate, foreach=True)


def _adamw_loop(recipe: _Recipe) -> torch.optim.Optimizer:
    """AdamW, one parameter after the other."""
    return torch.optim.AdamW(recipe.groups, lr=recipe.learning_rate, foreach=False)


def _adamw_8bit(recipe: _Recipe) -> torch.optim.Optimizer:
    """AdamW with moments in 8 bits, quantized by blocks (Dettmers et al. 2022, arXiv:2110.02861)."""
    try:
        import bitsandbytes  # Needed by this optimizer alone.
    except ImportError as error:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"training.optimizer is adamw-8bit, and bitsandbytes cannot be imported: {error}",
            hint="Install bitsandbytes, or set training.optimizer to adamw.",
        ) from error
    if recipe.device_type not in ("cpu", "cuda"):
        raise TaskError(
            FailureCode.BAD_JOB,
            f"The 8-bit optimizer of bitsandbytes runs on CUDA and CPU, not on {recipe.device_type}.",
            hint="Set training.optimizer to adamw or adafactor.",
        )
    optimizers: Any = bitsandbytes.optim
    made: torch.optim.Optimizer = optimizers.AdamW8bit(recipe.groups, lr=recipe.learning_rate)
    return made


def _adafactor(recipe: _Recipe) -> torch.optim.Optimizer:
    """Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) with our schedule's rate instead of its own; no momentum."""
    from transformers.optimization import Adafactor  # Seconds to load; the other optimizers do not need it.

    return Adafactor(  # type: ignore[no-untyped-call]
        recipe.groups, lr=recipe.learning_rate, scale_parameter=False, relative_step=False, warmup_init=False
    )


def _sgd(recipe: _Recipe) -> torch.optim.Optimizer:
    """Plain stochastic gradient descent; keeps no state."""
    return torch.optim.SGD(recipe.groups, lr=recipe.learning_rate)


def _sgd_momentum(recipe: _Recipe) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum 0.9."""
    return torch.optim.SGD(recipe.groups, lr=recipe.learning_rate, momentum=MOMENTUM)


OPTIMIZERS: dict[str, Callable[[_Recipe], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw-foreach": _adamw_foreach,
    "adamw-loop": _adamw_loop,
    "adamw-8bit": _adamw_8bit,
    "adafactor": _adafactor,
    "sgd": _sgd,
    "sgd-momentum": _sgd_momentum,
}
