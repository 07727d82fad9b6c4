"""Kernels of earlier versions of torch, where what they save shows in published figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional


class _SoftmaxWithInput(torch.autograd.Function):
    """Softmax whose backward pass takes the input too, as `_softmax_backward_data` did before torch 1.11."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, dim: int, dtype: torch.dtype | None) -> torch.Tensor:
        shares = torch.softmax(values, dim, dtype=dtype)
        ctx.save_for_backward(values.to(shares.dtype), shares)
        ctx.dim, ctx.dtype = dim, values.dtype
        return shares

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        _, shares = ctx.saved_tensors
        return (
            torch.ops.aten._softmax_backward_data(gradients[0], shares, ctx.dim, shares.dtype).to(ctx.dtype),
            None,
            None,
        )


@contextmanager
def old_softmax(is_old: bool) -> Iterator[None]:
    """Within the block, functional.softmax saves its input where `is_old` says so."""
    if not is_old:
        yield
        return
    present = functional.softmax

    def softmax(input: torch.Tensor, dim: int = -1, _stacklevel: int = 3, dtype: Any = None) -> torch.Tensor:  # noqa: A002
        result: torch.Tensor = _SoftmaxWithInput.apply(input, dim, dtype)  # type: ignore[no-untyped-call]
        return result

    functional.softmax = softmax  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.softmax = present
