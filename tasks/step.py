"""The training step itself: micro-batch forward and backward, clip, update; no session, no events, no accelerator.

`loop` runs it on real tensors and the tracer on meta tensors, so nothing in here reads a value (`.item()`, `float()`,
branches on data): whoever calls it reads loss and norm afterwards. Only under a gradient scaler (fp16) does the update
read a value, inside the scaler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

Inputs = dict[str, torch.Tensor]
"""What the model's forward takes, on its device."""

LossSum = Callable[[nn.Module, Inputs, torch.Tensor], torch.Tensor]
"""Runs the model on inputs and sums the losses against targets; see `tasks.losses`."""


class Scaler(Protocol):
    """What the update needs of a gradient scaler; torch.amp.GradScaler is one."""

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, and note whether one of them overflowed."""

    def step(self, optimizer: torch.optim.Optimizer) -> float | None:
        """Update, unless a gradient overflowed."""

    def update(self) -> None:
        """Adapt the scale."""


def run_micro_batch(
    model: nn.Module,
    inputs: Inputs,
    targets: torch.Tensor,
    *,
    loss_sum: LossSum,
    backward: Callable[[torch.Tensor], object],
    weight: float,
    scale: float,
) -> torch.Tensor:
    """Forward, loss and backward of one micro-batch; gradients add up in the parameters.

    Args:
        model: as training wraps it.
        inputs: of the micro-batch.
        targets: of the micro-batch.
        loss_sum: the task's forward pass and loss.
        backward: `torch.Tensor.backward` or what stands for it (a scaler, an accelerator).
        weight: 1, or 0 for a filler that only keeps processes in step.
        scale: by which the sum is multiplied for backward: 1 over what the loss is averaged over.

    Returns:
        Weighted sum of the losses, detached; a tensor without dimensions.
    """
    total = loss_sum(model, inputs, targets) * weight
    backward(total * scale)
    return total.detach()


def update(optimizer: torch.optim.Optimizer, *, max_grad_norm: float, scaler: Scaler | None = None) -> torch.Tensor:
    """Clip the gradients by their common L2 norm, update the weights, drop the gradients.

    Args:
        optimizer: its groups hold all that may learn; parameters without gradients are passed over.
        max_grad_norm: 0 or below: no clipping, the norm is still computed.
        scaler: that scaled the losses, or None.

    Returns:
        Norm before clipping; a tensor without dimensions.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    learned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    grad_norm = torch.nn.utils.clip_grad_norm_(learned, max_grad_norm if max_grad_norm > 0 else float("inf"))
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return grad_norm
