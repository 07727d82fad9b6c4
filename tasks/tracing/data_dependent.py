"""Ops whose result depends on data, which meta tensors do not have: what is taken instead.

The largest result is taken where data decide its size. Questions asked of data are answered as ordinary batches would:
no value is odd, not all of a mask is set when there is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

aten = torch.ops.aten

ALL_OPS = ("all", "logical_not_any")


@dataclass(slots=True, kw_only=True)
class Policy:
    """A `recorder.Substitute`."""

    padded: bool
    questions: dict[int, str] = field(default_factory=dict)
    """Which op gave a boolean scalar, by its storage."""

    def __call__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        if not isinstance(first, torch.Tensor) or first.device.type != "meta":
            return NotImplemented
        if func is aten._local_scalar_dense.default:
            return self._answer(first)
        known = RESULTS.get(func)
        if known is not None:
            return known(*args, **kwargs)
        if func._opname in ("all", "any", "eq", "ne", "logical_not"):
            out = func(*args, **kwargs)
            if isinstance(out, torch.Tensor) and out.numel() == 1:
                self.questions[out.untyped_storage()._cdata] = func._opname
            return out
        return NotImplemented

    def _answer(self, asked: torch.Tensor) -> bool | int | float:
        if asked.dtype == torch.bool:
            return not self.padded and self.questions.get(asked.untyped_storage()._cdata) in ALL_OPS
        return 1.0 if asked.is_floating_point() else 1


def _masked_select(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    shape = torch.broadcast_shapes(values.shape, mask.shape)  # type: ignore[no-untyped-call]
    return values.new_empty(shape).reshape(-1)


def _nonzero(values: torch.Tensor) -> torch.Tensor:
    return torch.empty(values.numel(), values.dim(), dtype=torch.long, device=values.device)


def _ctc_loss(logs: torch.Tensor, targets: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and forward variables: two states per character and one more."""
    frames, batch = logs.shape[0], logs.shape[1]
    characters = targets.numel() // batch if targets.dim() == 1 else targets.shape[1]
    return logs.new_empty(batch), logs.new_empty(batch, frames, 2 * characters + 1)


def _ctc_loss_backward(_grad: torch.Tensor, logs: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return torch.empty_like(logs)


def _no_cudnn(*_: Any, **__: Any) -> bool:
    return False


RESULTS: dict[Any, Callable[..., Any]] = {
    aten.masked_select.default: _masked_select,
    aten.nonzero.default: _nonzero,
    aten._ctc_loss.default: _ctc_loss,
    aten._ctc_loss.Tensor: _ctc_loss,
    aten._ctc_loss_backward.default: _ctc_loss_backward,
    aten._ctc_loss_backward.Tensor: _ctc_loss_backward,
    aten._use_cudnn_ctc_loss.default: _no_cudnn,
    aten._use_cudnn_ctc_loss.Tensor: _no_cudnn,
}
