"""Losses as sums in nats, from logits or from hidden states; averages are the loop's, so that batches may be cut.

Shapes: B samples of a micro-batch, T tokens, C classes, H hidden size, V vocabulary, N = B x T tokens, K of a chunk.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

IGNORED = -100
"""Target of tokens that count for no loss: padding, prompts."""


def label_loss_sum(logits_BC: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
    """Sum of the samples' cross-entropies, computed in float32."""
    return functional.cross_entropy(logits_BC.float(), targets_B, reduction="sum")


def classification_loss_sum(model: nn.Module, inputs: dict[str, torch.Tensor], targets_B: torch.Tensor) -> torch.Tensor:
    """The step's loss of a model with a classification head; a `tasks.step.LossSum`."""
    return label_loss_sum(model(**inputs).logits, targets_B)
