"""Losses as sums in nats, from logits or from hidden states; averages are the loop's, so that batches may be cut.

Nothing in here reads a value: the tracer runs it on meta tensors too.
Shapes: B samples of a micro-batch, T tokens, C classes, H hidden size, V vocabulary, N = B x T tokens, K of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

IGNORED = -100
"""Target of tokens that count for no loss: padding, prompts."""


def label_loss_sum(logits_BC: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
    """Sum of the samples' cross-entropies, computed in float32."""
    return functional.cross_entropy(logits_BC.float(), targets_B, reduction="sum")


def classification_loss_sum(model: nn.Module, inputs: dict[str, torch.Tensor], targets_B: torch.Tensor) -> torch.Tensor:
    """The step's loss of a model with a classification head; a `tasks.step.LossSum`."""
    return label_loss_sum(model(**inputs).logits, targets_B)


def token_loss_sum(logits_BTV: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
    """Sum of the tokens' cross-entropies, on a float32 copy of the logits.

    Args:
        logits_BTV: of any type.
        targets_BT: what each position has to predict, already moved (`next_tokens`), or IGNORED.
    """
    flat_NV = logits_BTV.float().flatten(0, -2)
    return functional.cross_entropy(flat_NV, targets_BT.flatten(), ignore_index=IGNORED, reduction="sum")


def causal_loss_sum(
    hidden_BTH: torch.Tensor,
    head_weight_VH: torch.Tensor,
    targets_BT: torch.Tensor,
    *,
    chunk_tokens: int | None,
    head_bias_V: torch.Tensor | None = None,
) -> torch.Tensor:
    """The same from the last hidden states, so that the head need not see all tokens at once.

    Args:
        hidden_BTH: after the last norm.
        head_weight_VH: of the linear head.
        targets_BT: as in `token_loss_sum`.
        chunk_tokens: tokens whose logits exist at one time, made again for the backward pass; None: all, kept.
        head_bias_V: of the head, where it has one.
    """
    if chunk_tokens is None:
        return token_loss_sum(functional.linear(hidden_BTH, head_weight_VH, head_bias_V), targets_BT)
    hidden_NH, targets_N = hidden_BTH.flatten(0, -2), targets_BT.flatten()
    total = torch.zeros((), device=hidden_NH.device)
    for hidden_KH, targets_K in zip(
        torch.split(hidden_NH, chunk_tokens), torch.split(targets_N, chunk_tokens), strict=True
    ):
        part: Any = checkpoint(
            _chunk_loss_sum,
            hidden_KH,
            head_weight_VH,
            head_bias_V,
            targets_K,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        total = total + part
    return total


def causal_lm_loss_sum(
    model: nn.Module, inputs: dict[str, torch.Tensor], labels_BT: torch.Tensor, *, chunk_tokens: int | None = None
) -> torch.Tensor:
    """The step's loss of a language model; with chunk_tokens bound, a `tasks.step.LossSum`.

    Args:
        model: of transformers, with adapters or without; for chunks one for which `has_linear_head` is true.
        inputs: of its forward pass.
        labels_BT: token ids in their own places, or IGNORED.
        chunk_tokens: as in `causal_loss_sum`.
    """
    targets_BT = next_tokens(labels_BT)
    if chunk_tokens is None:
        return token_loss_sum(model(**inputs).logits, targets_BT)
    backbone, head = backbone_and_head(model)
    hidden_BTH = backbone(**inputs).last_hidden_state
    return causal_loss_sum(
        hidden_BTH, head.weight, targets_BT, chunk_tokens=chunk_tokens, head_bias_V=getattr(head, "bias", None)
    )


def next_tokens(labels_BT: torch.Tensor) -> torch.Tensor:
    """What each position has to predict; targets move instead of logits, which would be copied."""
    return functional.pad(labels_BT, (0, 1), value=IGNORED)[..., 1:]


def backbone_and_head(model: nn.Module) -> tuple[Any, Any]:
    """What makes hidden states and what makes logits of them; adapters lie inside and go along."""
    whole: Any = model
    if hasattr(whole, "get_base_model"):
        whole = whole.get_base_model()
    return whole.base_model, whole.get_output_embeddings()


def caps_logits(model: nn.Module) -> bool:
    """Whether the config has a cap of logits, which untrained weights may not reach."""
    config: Any = model.config
    return bool(getattr(config.get_text_config(), "final_logit_softcapping", None))


def has_linear_head(model: nn.Module, device: torch.device) -> bool:
    """Whether logits are the head's product with the last hidden states and nothing more: tried on eight tokens.

    Some families cap (Gemma 2) or scale (Granite, Cohere) them afterwards; a chunked loss would be another one there.
    """
    was_training = model.training
    tokens_BT = torch.arange(8, device=device)[None]
    with torch.inference_mode():
        model.eval()
        logits_BTV = model(input_ids=tokens_BT).logits
        backbone, head = backbone_and_head(model)
        own_BTV = head(backbone(input_ids=tokens_BT).last_hidden_state)
    model.train(was_training)
    return logits_BTV.shape == own_BTV.shape and bool(torch.allclose(logits_BTV, own_BTV, rtol=1e-2, atol=1e-3))


def _chunk_loss_sum(
    hidden_KH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None, targets_K: torch.Tensor
) -> torch.Tensor:
    return token_loss_sum(functional.linear(hidden_KH, weight_VH, bias_V), targets_K)
