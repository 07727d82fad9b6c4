"""Ops whose result depends on data, which meta tensors do not have: what is taken instead.

Where data decide the size of a result, the largest is taken. Questions asked of data are answered as ordinary batches
answer them: the attention mask of a batch has padding, all that is expected to hold holds, and nothing is odd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tasks.tracing.op_facts import facts_of
from tasks.tracing.refusal import RefusedModel

aten = torch.ops.aten

_MASK = "tunefare_is_mask"
_QUESTION = "tunefare_question"
_LENGTH = "tunefare_length"
_ZEROS = "tunefare_zeros"
_WHOLE = "tunefare_is_whole"
_PLACES = "tunefare_places"
_FRESH = frozenset((aten.new_zeros.default, aten.zeros_like.default))
_IN_PLACE = {
    aten.scatter_add.default: aten.scatter_add_.default,
    aten.index_put.default: aten.index_put_.default,
    aten.index_add.default: aten.index_add_.default,
    aten.scatter.src: aten.scatter_.src,
}
_KEEPING = frozenset(("_to_copy", "clone", "index", "constant_pad_nd", "cat", "sum"))
"""What they make of a mask still says where padding is."""
_ASKING = frozenset(("all", "any", "eq", "ne", "gt", "lt", "logical_not", "bitwise_not", "_is_all_true"))

_INDEXING = ("index", "unsafe_index")
_concerned: dict[int, bool] = {}
"""By the identity of the op, whose hash is a function in Python."""


def mark_mask(tensor: torch.Tensor) -> None:
    """Say that a tensor is the attention mask of a batch with padding."""
    _mark(tensor, _MASK, True)


def mark_whole(tensor: torch.Tensor) -> None:
    """Say that a tensor is a mask without padding: of images that fill their frame."""
    _mark(tensor, _WHOLE, True)


def mark_places(tensor: torch.Tensor, count: int) -> None:
    """Say in how many positions token ids stand for features of images; what is compared with one of the ids knows it
    too."""
    _mark(tensor, _PLACES, count)


def answers(*, padded: bool) -> Callable[[Any, Sequence[Any], dict[str, Any]], Any]:
    """A `recorder.Substitute`; padded: a mask of samples x positions that a model makes itself has padding too."""

    def substitute(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if not _is_concerned(func):
            return NotImplemented
        is_of_samples = func._opname == "all" and args[0].dim() == 2 and args[0].dtype == torch.bool
        if padded and is_of_samples and not _marked(args[0], _WHOLE, False):
            mark_mask(args[0])
        known = _with_places(func, args)
        if known is None:
            return _substitute(func, args, kwargs)
        out = _substitute(func, known, kwargs)
        return func(*known, **kwargs) if out is NotImplemented else out

    return substitute


def _is_concerned(func: Any) -> bool:
    """Whether anything is ever put in place of the op: most have nothing to do with data."""
    known = _concerned.get(id(func))
    if known is None:
        name = facts_of(func).name
        known = _concerned[id(func)] = (
            func in RESULTS
            or func in _FRESH
            or func in _IN_PLACE
            or name in (*_ASKING, *_KEEPING, "_local_scalar_dense", "masked_scatter")
            or name.strip("_").startswith(_INDEXING)
        )
    return known


def _substitute(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    first = args[0] if args else None
    if not isinstance(first, torch.Tensor) or first.device.type != "meta":
        return NotImplemented
    if func is aten._local_scalar_dense.default:
        return _answer(first)
    known = RESULTS.get(func)
    if known is not None:
        return known(*args, **kwargs)
    name = func._opname
    if name == "_to_copy" and kwargs.get("device") == torch.device("cpu"):
        return _values(first, kwargs)
    if func in _FRESH:
        out = func(*args, **kwargs)
        _mark(out, _ZEROS, True)
        return out
    if func in _IN_PLACE and not torch.is_grad_enabled() and _marked(first, _ZEROS, False):
        # Derivatives add into fresh zeros in place, but out of place while anyone watches dispatch.
        _IN_PLACE[func](*args, **kwargs)
        return first
    if first.is_floating_point() or (name not in _ASKING and name not in _KEEPING):
        return NotImplemented
    out = func(*args, **kwargs)
    if isinstance(out, torch.Tensor):
        is_mask = _marked(first, _MASK, False)
        if is_mask:
            _mark(out, _MASK, True)
        for name_of_mark in (_WHOLE, _PLACES):
            if (mark := _marked(first, name_of_mark, None)) is not None:
                _mark(out, name_of_mark, mark)
        if name in _ASKING and out.numel() == 1:
            _mark(out, _QUESTION, "all" if name == "_is_all_true" else name)
        elif name == "sum":
            _mark(out, _LENGTH, first.numel() // max(1, out.numel()))
    return out


def _with_places(func: Any, args: Sequence[Any]) -> Sequence[Any] | None:
    """Arguments of an op that picks by a mask of places, with as many indices instead; None for all others."""
    name = func._opname
    if name == "masked_scatter" and _marked(args[1], _PLACES, None) is not None:
        wanted = _marked(args[1], _PLACES, 0) * args[0].shape[-1]
        if wanted != args[2].numel():
            raise RefusedModel(
                f"The model makes {args[2].numel():,} features of its images and has places for {wanted:,}.",
                field="vision_config",
                hint="Compare its fields with the config.json of a published model of this architecture.",
            )
    if not name.strip("_").startswith(_INDEXING) or len(args) < 2 or not isinstance(args[1], list):
        return None
    if not any(part is not None and _marked(part, _PLACES, None) is not None for part in args[1]):
        return None
    indices: list[torch.Tensor | None] = []
    for part in args[1]:
        count = None if part is None or part.dtype != torch.bool else _marked(part, _PLACES, None)
        if count is None:
            indices.append(part)
        else:
            indices += [torch.empty(count, dtype=torch.long, device=part.device) for _ in range(part.dim())]
    return (args[0], indices, *args[2:])


def _answer(asked: torch.Tensor) -> bool | int | float:
    """The value of a tensor of one element."""
    if asked.dtype == torch.bool:
        question, is_mask = _marked(asked, _QUESTION, ""), _marked(asked, _MASK, False)
        # A mask with padding is not all set, and something of it is unset.
        return bool(question == "any") if is_mask else bool(question == "all")
    return 1.0 if asked.is_floating_point() else int(_marked(asked, _LENGTH, 1))


def _values(asked: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
    """A model reads a whole tensor: the lengths of full samples, ones else."""
    dtype = kwargs.get("dtype") or asked.dtype
    return torch.full(asked.shape, _marked(asked, _LENGTH, 1), dtype=dtype, device="cpu")


def _mark(tensor: torch.Tensor, name: str, value: object) -> None:
    # Views share a storage, and it lives as long as any of them.
    setattr(tensor.untyped_storage(), name, value)


def _marked(tensor: torch.Tensor, name: str, default: Any) -> Any:
    return getattr(tensor.untyped_storage(), name, default)


def _masked_select(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    shape = torch.broadcast_shapes(values.shape, mask.shape)  # type: ignore[no-untyped-call]
    return values.new_empty(shape).reshape(-1)


def _nonzero(values: torch.Tensor) -> torch.Tensor:
    return torch.empty(values.numel(), values.dim(), dtype=torch.long, device=values.device)


def _unique_consecutive(values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All values equal."""
    none = torch.empty(0, dtype=torch.long, device=values.device)
    return values.reshape(-1)[:1].clone(), none, none


def _ctc_loss(logs: torch.Tensor, targets: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and forward variables: two states per character and one more."""
    frames, batch = logs.shape[0], logs.shape[1]
    characters = targets.numel() // batch if targets.dim() == 1 else targets.shape[1]
    return logs.new_empty(batch), logs.new_empty(batch, frames, 2 * characters + 1)


def _ctc_loss_backward(_grad: torch.Tensor, logs: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return torch.empty_like(logs)


def _grouped_product(
    left: torch.Tensor,
    right: torch.Tensor,
    offsets: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Any:
    """Products per expert in other types than bfloat16, which devices compute and torch has no meta kernel for.

    A loop over the experts stands in for the fused kernel there (pytorch pull request 162059). Autocast's lists do not
    name the op: weights in float32 are multiplied in float32.
    """
    if left.dtype == torch.bfloat16 or left.dtype != right.dtype or bias is not None or offsets is None:
        return NotImplemented
    groups = () if left.dim() != right.dim() else (offsets.shape[0] if left.dim() == 2 else left.shape[0],)
    return left.new_empty(*groups, left.shape[-2], right.shape[-1], dtype=out_dtype or left.dtype)


def _filled(values: torch.Tensor, mask: torch.Tensor, value: torch.Tensor) -> Any:
    """Devices take a number that stands in a tensor of the host."""
    if value.device.type != "cpu" or value.dim() != 0:
        return NotImplemented
    return aten.masked_fill.Scalar(values, mask, value.item())


def _no_cudnn(*_: Any, **__: Any) -> bool:
    return False


RESULTS: dict[Any, Callable[..., Any]] = {
    aten.masked_select.default: _masked_select,
    aten.nonzero.default: _nonzero,
    aten.unique_consecutive.default: _unique_consecutive,
    aten._ctc_loss.default: _ctc_loss,
    aten._ctc_loss.Tensor: _ctc_loss,
    aten._ctc_loss_backward.default: _ctc_loss_backward,
    aten._ctc_loss_backward.Tensor: _ctc_loss_backward,
    aten._use_cudnn_ctc_loss.default: _no_cudnn,
    aten._use_cudnn_ctc_loss.Tensor: _no_cudnn,
    aten._grouped_mm.default: _grouped_product,
    aten.masked_fill.Tensor: _filled,
}
