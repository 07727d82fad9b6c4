"""Facts about one op: whether it is a view, what limits it, which type it computes in, how many bytes it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

aten = torch.ops.aten


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MATMUL = _names("mm addmm bmm baddbmm addbmm mv addmv dot _grouped_mm _scaled_mm _scaled_grouped_mm")
WITHOUT_TRAFFIC = _names("empty empty_like new_empty empty_strided new_empty_strided")
"""They allocate only."""
PICKING = _names("embedding index index_select gather")
"""They read as much of their first input as they write."""
OVERWRITING = _names("copy_ fill_ zero_ bernoulli_ uniform_ normal_ random_")
"""They write their first argument without reading it."""

_ALIASING = frozenset(
    (aten._unsafe_view.default, aten.detach.default, aten.lift_fresh.default, aten.alias.default, aten.resize_.default)
)
_CHANGING = ("rand", "bernoulli", "_local_scalar_dense", "empty_strided")
"""Random generators are an argument, scalars are no tensors; nothing is quicker than the last."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is the same for all calls of an op."""

    func: Any
    name: str
    kind: str
    is_view: bool
    """All results share storage with an argument, and no kernel runs."""
    is_pure: bool
    """Results are new tensors whose layout follows from the arguments, and no argument changes."""
    written: tuple[int, ...]
    """Places of the arguments that it writes."""


_facts: dict[int, Facts] = {}


def facts_of(func: Any) -> Facts:
    """Facts of an op, looked up by its identity: an op's hash is a function in Python."""
    return _facts.get(id(func)) or _facts.setdefault(id(func), _new_facts(func))


def _new_facts(func: Any) -> Facts:
    schema, name = func._schema, str(func._opname)
    is_alias = bool(schema.returns) and all(
        part.alias_info is not None and not part.alias_info.is_write for part in schema.returns
    )
    is_view = is_alias or func in _ALIASING
    is_pure = (
        not is_view
        and not any(part.alias_info for part in (*schema.arguments, *schema.returns))
        and all(str(part.type) == "Tensor" for part in schema.returns)
        and bool(schema.returns)
        and not any(word in name for word in _CHANGING)
    )
    return Facts(func, name, kind_of(name), is_view, is_pure, _written_arguments(func))


def tensors_in(values: Any) -> list[torch.Tensor]:
    """All tensors in a nest of tuples, lists and dicts."""
    found: list[torch.Tensor] = []
    _collect(values, found)
    return found


def _collect(values: Any, found: list[torch.Tensor]) -> None:
    if isinstance(values, torch.Tensor):
        found.append(values)
    elif isinstance(values, tuple | list):
        for value in values:
            _collect(value, found)
    elif isinstance(values, dict):
        for value in values.values():
            _collect(value, found)


def is_view(func: Any) -> bool:
    """Whether all results share storage with an argument and no kernel runs."""
    return facts_of(func).is_view


def kind_of(name: str) -> str:
    """One of OP_KINDS by the op's name; `update` is for the caller to say."""
    if name in MATMUL:
        return "matmul"
    if "_attention" in name:
        return "attention"
    return "convolution" if "convolution" in name else "memory"


def type_of(inputs: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> str:
    """The type of the first floating-point input, else of the first tensor."""
    tensors = (*inputs, *results)
    if not tensors:
        return "none"
    chosen = next((part.dtype for part in tensors if part.is_floating_point()), tensors[0].dtype)
    return str(chosen).removeprefix("torch.")


def moved_bytes(
    func: Any, args: Sequence[Any], inputs: Sequence[torch.Tensor], results: Sequence[torch.Tensor]
) -> float:
    """Bytes read and written when each input is read once and each result written once."""
    name = func._opname
    if name in WITHOUT_TRAFFIC:
        return 0.0
    written = sum(_dense_bytes(part) for part in results)
    if not results:
        written = sum(_dense_bytes(part) for at in facts_of(func).written for part in tensors_in(args[at : at + 1]))
    if name in PICKING:
        return 2.0 * written
    read = sum(_stored_bytes(part) for part in inputs)
    if name in OVERWRITING and inputs:
        read -= _stored_bytes(inputs[0])
    return float(read + written)


def is_moved_known(inputs: Sequence[torch.Tensor]) -> bool:
    """Whether `moved_bytes` follows from shapes and strides alone: no input is expanded within a storage that may be
    larger than what it shows."""
    return all(_dense_bytes(part) <= _extent_bytes(part) for part in inputs)


def _written_arguments(func: Any) -> tuple[int, ...]:
    marked = [
        at
        for at, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write and not argument.kwarg_only
    ]
    # Fused optimizers mark gradients as written, because a gradient scaler may be folded in.
    return tuple(at for at in marked if not (func._opname.startswith("_fused") and at == 1))


def _dense_bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _stored_bytes(tensor: torch.Tensor) -> int:
    """An expanded tensor is read once."""
    return min(_dense_bytes(tensor), tensor.untyped_storage().nbytes())


def _extent_bytes(tensor: torch.Tensor) -> int:
    """From the first to the last element."""
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()
