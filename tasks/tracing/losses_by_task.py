"""The loss of each task for the tracer: the training program's own, and the models' own where it has none.

Shapes: B samples of a micro-batch, T tokens, F frames, V vocabulary.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

from tasks import losses
from tasks.step import Inputs, LossSum
from tasks.step_trace import TraceRequest
from tasks.tracing.refusal import RefusedModel


def loss_of(request: TraceRequest) -> LossSum:
    """The `tasks.step.LossSum` of a request.

    Raises:
        RefusedModel: a loss that the task does not have.
    """
    if request.loss == "chunked":
        if request.task != "causal-lm":
            raise RefusedModel(f"A chunked loss is for causal-lm, not {request.task}.", field="loss")
        return functools.partial(losses.causal_lm_loss_sum, chunk_tokens=losses.CHUNK_TOKENS)
    if request.task in ("text-classification", "image-classification", "audio-classification"):
        return losses.classification_loss_sum
    if request.task == "contrastive":
        return contrastive_loss_sum
    if request.task == "speech-ctc":
        return ctc_loss_sum
    return functools.partial(
        _token_loss_sum,
        is_next=request.task in ("causal-lm", "image-text-to-text"),
        is_upcast=request.upcast_logits,
    )


def ctc_loss_sum(model: nn.Module, inputs: Inputs, targets_BT: torch.Tensor) -> torch.Tensor:
    """Connectionist temporal classification (Graves et al. 2006) over all frames, blank 0."""
    logits_BFV = model(**inputs).logits
    logs_FBV = functional.log_softmax(logits_BFV, dim=-1, dtype=torch.float32).transpose(0, 1)
    frames, batch = logs_FBV.shape[0], logs_FBV.shape[1]
    frames_B = torch.full((batch,), frames, dtype=torch.long, device=logs_FBV.device)
    lengths_B = torch.full((batch,), targets_BT.shape[1], dtype=torch.long, device=logs_FBV.device)
    return functional.ctc_loss(logs_FBV, targets_BT, frames_B, lengths_B, reduction="sum", zero_infinity=True)


def contrastive_loss_sum(model: nn.Module, inputs: Inputs, _targets: torch.Tensor) -> torch.Tensor:
    """The model's own symmetric loss over the pairs of the batch (Radford et al. 2021, arXiv:2103.00020)."""
    loss: torch.Tensor = model(**inputs, return_loss=True).loss
    return loss


def _token_loss_sum(
    model: nn.Module, inputs: Inputs, labels_BT: torch.Tensor, *, is_next: bool, is_upcast: bool
) -> torch.Tensor:
    targets_BT = losses.next_tokens(labels_BT) if is_next else labels_BT
    if is_upcast:
        return losses.token_loss_sum(model(**inputs).logits, targets_BT)
    flat_NV = model(**inputs).logits.flatten(0, -2)
    return functional.cross_entropy(flat_NV, targets_BT.flatten(), ignore_index=losses.IGNORED, reduction="sum")
