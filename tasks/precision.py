"""What a precision means: the type of weights, of autocast, of products over weights in 4 bits.

Pure fp16 is not among them: weights of 16 bits with 5 for the exponent lose updates below 6e-8 and overflow above
65,504, and no scaler helps the weights themselves. fp16-mixed keeps weights in float32 (Micikevicius et al. 2018,
arXiv:1710.03740).
"""

from __future__ import annotations

import torch
from torch import nn

PRECISIONS = ("fp32", "bf16-mixed", "fp16-mixed", "bf16")
AUTOCAST = {"bf16-mixed": "bf16", "fp16-mixed": "fp16"}
"""Accelerate's names; the other precisions compute in the type of the weights."""
WEIGHT_TYPES = {precision: torch.bfloat16 if precision == "bf16" else torch.float32 for precision in PRECISIONS}
COMPUTE_TYPES = {
    "fp32": torch.float32,
    "bf16-mixed": torch.bfloat16,
    "fp16-mixed": torch.float16,
    "bf16": torch.bfloat16,
}
"""Of matrix products."""


def cast_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Give weights and stored buffers a type.

    Weights in 4 bits stay, and so do buffers that are computed and not stored: rotary frequencies lose far positions in
    16 bits, and transformers keeps them in float32 as well.
    """
    stored = [
        buffer
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if name not in module._non_persistent_buffers_set
    ]
    for tensor in (*model.parameters(), *stored):
        if tensor.is_floating_point() and tensor.dtype != dtype:
            tensor.data = tensor.data.to(dtype)
