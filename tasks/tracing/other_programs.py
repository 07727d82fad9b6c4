"""What programs of others do otherwise than ours around a model, by names of `tasks.step_trace.DEVIATIONS`.

Each holds what its code holds, nothing is fitted; the training program asks for none of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tasks.losses import IGNORED, next_tokens
from tasks.step import Inputs, LossSum

CACHED = ("c_attn",)
"""Layers whose results the cache of keys and values is a part of, where checkpointing does not switch it off
(transformers before 4.50, modeling_gpt_bigcode.py: `present = key_value if use_cache`)."""


def widen_norms(model: nn.Module) -> None:
    """Weights of norms in float32, so that what they return is (trl/trainer/utils.py, peft_module_casting_to_bf16)."""
    for name, module in model.named_modules():
        if "norm" in name or isinstance(module, nn.LayerNorm):
            module.to(torch.float32)


def leave_adapter_inputs(model: nn.Module) -> None:
    """Under autocast adapters of layers in 4 bits take their input as it is (peft/tuners/lora/bnb.py, Linear4bit)."""
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "cast_input_dtype_enabled")]
    for layer in layers:
        layer.cast_input_dtype_enabled = False


class KeptResults:
    """Results of layers that live until the loss is known, not those that a checkpoint makes again."""

    def __init__(self, model: nn.Module) -> None:
        self._results: list[Any] = []
        self._is_forward = True
        for name, module in model.named_modules():
            if name.rpartition(".")[2] in CACHED:
                module.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, result: Any) -> None:
        if self._is_forward and torch.is_grad_enabled():
            self._results.append(result)

    def release(self) -> None:
        """The forward pass has returned."""
        self._is_forward = False
        self._results.clear()

    def renew(self) -> None:
        """Another step begins."""
        self._is_forward = True


def copied_loss_sum(*, is_upcast: bool, kept: KeptResults | None = None) -> LossSum:
    """The loss of transformers before 4.48, which copies the predictions to leave out each sample's last one.

    All are copied here: the allocator's large blocks differ by less than that at usual lengths.
    """

    def loss_sum(model: nn.Module, inputs: Inputs, labels_BT: torch.Tensor) -> torch.Tensor:
        if kept is not None:
            kept.renew()
        logits_BTV = model(**inputs).logits
        if is_upcast:
            logits_BTV = logits_BTV.float()
        flat_NV = logits_BTV.clone().flatten(0, -2)
        targets_N = next_tokens(labels_BT).flatten()
        total = nn.functional.cross_entropy(flat_NV, targets_N, ignore_index=IGNORED, reduction="sum")
        if kept is not None:
            kept.release()
        return total

    return loss_sum
