"""The loss of each task for the tracer: the training program's own, and the models' own where it has none yet."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tasks.losses import IGNORED, classification_loss_sum
from tasks.step import Inputs, LossSum
from tasks.step_trace import TraceRequest


def loss_of(request: TraceRequest) -> LossSum:
    """The `tasks.step.LossSum` of a request."""
    if request.task in ("text-classification", "image-classification", "audio-classification"):
        return classification_loss_sum
    if request.task == "contrastive":
        return contrastive_loss_sum
    if request.task == "speech-ctc":
        return ctc_loss_sum
    shift = request.task in ("causal-lm", "image-text-to-text")

    def token_loss_sum(model: nn.Module, inputs: Inputs, targets_BT: torch.Tensor) -> torch.Tensor:
        logits_BTV = model(**inputs).logits
        if request.upcast_logits:
            logits_BTV = logits_BTV.float()
        if shift:
            # Targets move instead of logits, which would be copied.
            targets_BT = functional.pad(targets_BT, (0, 1), value=IGNORED)[..., 1:]
        flat_NV = logits_BTV.view(-1, logits_BTV.shape[-1])
        return functional.cross_entropy(flat_NV, targets_BT.reshape(-1), ignore_index=IGNORED, reduction="sum")

    return token_loss_sum


def ctc_loss_sum(model: nn.Module, inputs: Inputs, targets_BT: torch.Tensor) -> torch.Tensor:
    """Connectionist temporal classification (Graves et al. 2006) over all frames, blank 0."""
    logits_BFV = model(**inputs).logits
    logs_FBV = functional.log_softmax(logits_BFV, dim=-1, dtype=torch.float32).transpose(0, 1)
    frames, batch = logs_FBV.shape[0], logs_FBV.shape[1]
    inputs_B = torch.full((batch,), frames, dtype=torch.long, device=logs_FBV.device)
    targets_B = torch.full((batch,), targets_BT.shape[1], dtype=torch.long, device=logs_FBV.device)
    return functional.ctc_loss(logs_FBV, targets_BT, inputs_B, targets_B, reduction="sum", zero_infinity=True)


def contrastive_loss_sum(model: nn.Module, inputs: Inputs, _targets: torch.Tensor) -> torch.Tensor:
    """The model's own symmetric loss over the pairs of the batch (Radford et al. 2021, arXiv:2103.00020)."""
    loss: torch.Tensor = model(**inputs, return_loss=True).loss
    return loss
