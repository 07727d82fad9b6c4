"""Floating-point operations per op: torch's own formulas with its gaps closed.

A multiply-add is two. Two of torch 2.13's formulas are replaced: the backward pass of a convolution, which ignores
groups, and attention, which refuses fewer key heads than query heads; grouped matrix products, which have none, get
one. Elementwise ops count none, as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


def op_flops(op: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> float:
    """Operations of one call; 0 for ops that have no formula."""
    formula = _FORMULAS.get(op._overloadpacket)
    return 0.0 if formula is None else float(formula(*args, **kwargs, out_val=out))


def convolution_backward(
    grad: torch.Tensor,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: int,
    output_mask: Sequence[bool],
    **_: object,
) -> float:
    """Gradients of input and weight cost as much as the forward pass each; weight.shape[1] is per group already."""
    positions = (inputs if transposed else grad).numel()
    once = 2.0 * positions * weight.shape[1] * math.prod(weight.shape[2:])
    return once * (int(output_mask[0]) + int(output_mask[1]))


def attention_forward(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: object, **__: object) -> float:
    """Scores and their product with the values, for all query heads; the causal half is not taken off."""
    return 2.0 * _scores(query, key) * (query.shape[-1] + value.shape[-1])


def attention_backward(
    _grad: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: object, **__: object
) -> float:
    """Five products: scores again, and the gradients of probabilities, values, queries and keys."""
    return 2.0 * _scores(query, key) * (3 * query.shape[-1] + 2 * value.shape[-1])


def grouped_mm(left: torch.Tensor, right: torch.Tensor, *_: object, **__: object) -> float:
    """One product per group over the rows (or columns) that fall to it: in all as many as without groups."""
    if left.dim() == 2:
        # 2D x 3D: rows are split among the groups; 2D x 2D: the inner dimension is.
        return 2.0 * left.shape[0] * left.shape[1] * right.shape[-1]
    if right.dim() == 2:
        return 2.0 * left.shape[1] * left.shape[2] * right.shape[1]
    return 2.0 * left.shape[0] * left.shape[1] * left.shape[2] * right.shape[-1]


def _scores(query: torch.Tensor, key: torch.Tensor) -> float:
    return float(math.prod(query.shape[:-1])) * key.shape[-2]


_FORMULAS: dict[Any, Callable[..., float]] = {
    **flop_registry,
    aten.convolution_backward: convolution_backward,
    aten._grouped_mm: grouped_mm,
    aten._scaled_dot_product_flash_attention: attention_forward,
    aten._scaled_dot_product_efficient_attention: attention_forward,
    aten._scaled_dot_product_cudnn_attention: attention_forward,
    aten._scaled_dot_product_flash_attention_for_cpu: attention_forward,
    aten._scaled_dot_product_flash_attention_backward: attention_backward,
    aten._scaled_dot_product_efficient_attention_backward: attention_backward,
    aten._scaled_dot_product_cudnn_attention_backward: attention_backward,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
}
