"""Ops that were run before on meta tensors of the same shapes: their results and their work, without asking torch.

Many ops find the shape of their result in Python, which takes ten times as long as an empty tensor does; layers repeat,
and so do the recordings of one model. Only ops that neither alias nor change an argument are remembered, and only
results that fill a storage of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.tracing.op_facts import Facts, tensors_in

_MOST = 200_000

Layout = tuple[torch.Size, tuple[int, ...], torch.dtype]


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of an op takes."""

    dtype: str
    flops: float
    moved_bytes: float


@dataclass(slots=True)
class Known:
    """One op on arguments of one kind."""

    layouts: Layout | list[Layout | None]
    """Of the one result, or of each of several."""
    work: Work | None = None
    """None until it is found; never kept where it depends on more than shapes."""


_known: dict[Any, Known] = {}
"""By op and arguments."""


def run(facts: Facts, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Known | None]:
    """The result of a pure op, and what is remembered of it."""
    try:
        key = (id(facts.func), _key(args), _key(tuple(kwargs.items())) if kwargs else None)
        known = _known.get(key)
    except TypeError:  # An argument that cannot be compared, or a tensor elsewhere.
        return facts.func(*args, **kwargs), None
    if known is None:
        return _remember(key, facts.func(*args, **kwargs), tensors_in((args, kwargs)))
    layouts = known.layouts
    if isinstance(layouts, tuple):
        return _made(layouts), known
    return tuple(None if part is None else _made(part) for part in layouts), known


def forget() -> None:
    """Start anew."""
    _known.clear()


def _made(layout: Layout) -> torch.Tensor:
    shape, stride, dtype = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")


def _key(values: Sequence[Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            if not value.is_meta:
                raise TypeError
            found.append((value.shape, value.stride(), value.dtype))
        elif isinstance(value, (tuple, list)):
            found.append(_key(value))
        else:
            found.append((value.__class__, value))
    return tuple(found)


def _remember(key: Any, out: Any, inputs: list[torch.Tensor]) -> tuple[Any, Known | None]:
    results = tensors_in(out)
    storages = {part.untyped_storage()._cdata for part in results}
    # Some ops hand on the storage of an argument and do not say so in their schema.
    is_own = len(storages) == len(results) and storages.isdisjoint(part.untyped_storage()._cdata for part in inputs)
    if not is_own or not all(_is_whole(part) for part in results):
        return out, None
    if len(_known) >= _MOST:
        _known.clear()
    known = _known[key] = Known(
        _layout(out) if isinstance(out, torch.Tensor) else [None if part is None else _layout(part) for part in out]
    )
    return out, known


def _layout(tensor: torch.Tensor) -> Layout:
    return tensor.shape, tensor.stride(), tensor.dtype


def _is_whole(tensor: torch.Tensor) -> bool:
    """Whether it is all of its storage."""
    if tensor.device.type != "meta" or tensor.storage_offset() != 0:
        return False
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return made.untyped_storage().nbytes() == tensor.untyped_storage().nbytes()
