"""Results of ops that were run before on meta tensors of the same shapes: made again without asking torch.

Many ops find the shape of their result in Python, which takes ten times as long as an empty tensor does; layers repeat,
and so do the recordings of one model. Only ops that neither alias nor change an argument are remembered, and only
results that fill a storage of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tasks.tracing.op_facts import tensors_in

_MOST = 200_000
_CHANGING = ("rand", "bernoulli", "_local_scalar_dense", "empty_strided")
"""Left alone: random generators are an argument, scalars are no tensors; nothing is quicker than the last."""

Layout = tuple[torch.Size, tuple[int, ...], torch.dtype]

_layouts: dict[Any, Layout | list[Layout | None]] = {}
"""Of the one result, or of each of several, by op and arguments."""
_pure: dict[Any, bool] = {}


class Remembering:
    """A `recorder.Substitute` that asks another one first."""

    def __init__(self, first: Callable[[Any, Sequence[Any], dict[str, Any]], Any]) -> None:
        self._first = first

    def __call__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The result of the op; NotImplemented leaves it to torch."""
        out = self._first(func, args, kwargs)
        if out is not NotImplemented or not _is_pure(func):
            return out
        try:
            key = (func, _key(args), _key(tuple(kwargs.items())) if kwargs else None)
            known = _layouts.get(key)
        except TypeError:  # An argument that cannot be compared, or a tensor elsewhere.
            return NotImplemented
        if known is None:
            return _remember(key, func(*args, **kwargs), tensors_in((args, kwargs)))
        if isinstance(known, tuple):
            return _made(known)
        return tuple(None if part is None else _made(part) for part in known)


def _made(layout: Layout) -> torch.Tensor:
    shape, stride, dtype = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


def _is_pure(func: Any) -> bool:
    known = _pure.get(func)
    if known is None:
        schema = func._schema
        known = _pure[func] = (
            not any(part.alias_info for part in (*schema.arguments, *schema.returns))
            and all(str(part.type) == "Tensor" for part in schema.returns)
            and bool(schema.returns)
            and not any(word in func._opname for word in _CHANGING)
        )
    return known


def _key(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        if value.device.type != "meta":
            raise TypeError
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(map(_key, value))
    return value.__class__, value


def _remember(key: Any, out: Any, inputs: list[torch.Tensor]) -> Any:
    results = tensors_in(out)
    storages = {part.untyped_storage()._cdata for part in results}
    # Some ops hand on the storage of an argument and do not say so in their schema.
    is_own = len(storages) == len(results) and storages.isdisjoint(part.untyped_storage()._cdata for part in inputs)
    if is_own and all(_is_whole(part) for part in results):
        if len(_layouts) >= _MOST:
            _layouts.clear()
        _layouts[key] = (
            _layout(out) if isinstance(out, torch.Tensor) else [None if part is None else _layout(part) for part in out]
        )
    return out


def _layout(tensor: torch.Tensor) -> Layout:
    return tensor.shape, tensor.stride(), tensor.dtype


def _is_whole(tensor: torch.Tensor) -> bool:
    """Whether it is all of its storage."""
    if tensor.device.type != "meta" or tensor.storage_offset() != 0:
        return False
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return made.untyped_storage().nbytes() == tensor.untyped_storage().nbytes()
