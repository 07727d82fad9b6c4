"""Autocast for meta tensors, as CUDA does it: the same casts at the same place, above autograd.

Meta tensors carry no autocast key of their own. AutocastIPU is a dispatch key that no device of ours uses; kernels
registered on it and switched on for a thread sit where AutocastCUDA's do. The lists of ops are those of
`ATen/autocast_mode.h` (torch 2.13). Refuses to be active for tensors of real devices: those have torch's own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LOWER_PRECISION = _names(
    "_convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d.input conv_transpose3d.input "
    "convolution prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm bmm chain_matmul "
    "linalg_multi_dot _scaled_dot_product_flash_attention scaled_dot_product_attention"
)
FLOAT32 = _names(
    "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar "
    "pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm rms_norm group_norm cosine_similarity "
    "poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss smooth_l1_loss "
    "huber_loss mse_loss margin_ranking_loss soft_margin_loss triplet_margin_loss binary_cross_entropy_with_logits "
    "dist pdist cdist renorm logsumexp upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
    "upsample_bilinear2d _upsample_bilinear2d_aa upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa"
)
FLOAT32_RESULT = _names(
    "prod prod.dim_int softmax.int log_softmax.int cumprod cumsum linalg_vector_norm linalg_matrix_norm "
    "linalg_matrix_norm.str_ord sum sum.dim_IntList"
)
WIDEST = _names("addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add")

_KEY = torch._C.DispatchKey.AutocastIPU  # type: ignore[attr-defined]
_KEYS = torch._C.DispatchKeySet(_KEY)

OnCopy = Callable[[torch.Tensor], None]


class _State(threading.local):
    """What is active on this thread."""

    dtype: torch.dtype = torch.bfloat16
    depth: int = 0
    copies: dict[int, tuple[torch.Tensor, torch.Tensor]]
    on_copy: OnCopy | None = None

    def __init__(self) -> None:
        self.copies = {}


_state = _State()
_libraries: list[torch.library.Library] = []


def is_active() -> bool:
    """Whether this thread is inside `meta_autocast`."""
    return bool(torch._C._dispatch_tls_is_dispatch_key_included(_KEY))


def compute_dtype() -> torch.dtype:
    """The type that matrix products run in while `is_active`."""
    return _state.dtype


@contextlib.contextmanager
def meta_autocast(dtype: torch.dtype, on_copy: OnCopy | None = None) -> Iterator[None]:
    """Autocast to a type within the block; `on_copy` is told each cached copy of a weight."""
    _register()
    before = (_state.dtype, _state.on_copy)
    _state.dtype, _state.on_copy = dtype, on_copy or _state.on_copy
    _state.depth += 1
    was_active = is_active()
    _switch(True)
    try:
        yield
    finally:
        _switch(was_active)
        _state.dtype, _state.on_copy = before
        _state.depth -= 1
        if _state.depth == 0:
            # As torch.autocast: weights are cast once until the outermost block is left.
            _state.copies.clear()


@contextlib.contextmanager
def no_autocast() -> Iterator[None]:
    """Switch it off within the block, as `torch.autocast(enabled=False)`."""
    was_active = is_active()
    _switch(False)
    try:
        yield
    finally:
        _switch(was_active)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with today's autocast around it whenever it runs: a checkpoint runs it again in backward."""
    if not is_active():
        return function
    dtype, on_copy = _state.dtype, _state.on_copy

    def run(*args: Any, **kwargs: Any) -> Any:
        if is_active():
            return function(*args, **kwargs)
        with meta_autocast(dtype, on_copy):
            return function(*args, **kwargs)

    return run


def _switch(is_on: bool) -> None:
    # Autocast keys stand in the thread's excluded set by default.
    torch._C._dispatch_tls_set_dispatch_key_excluded(_KEY, not is_on)
    torch._C._dispatch_tls_set_dispatch_key_included(_KEY, is_on)


def _register() -> None:
    if _libraries:
        return
    fallback: Any = torch.library.Library("_", "IMPL")  # type: ignore[no-untyped-call]
    fallback.fallback(torch.library.fallthrough_kernel, "AutocastIPU")
    ops: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    for names, policy in (
        (LOWER_PRECISION, _in_lower_precision),
        (FLOAT32, _in_float32),
        (FLOAT32_RESULT, _with_float32_result),
        (WIDEST, _in_widest),
    ):
        for name in names:
            packet, _, overload = name.partition(".")
            op = getattr(getattr(torch.ops.aten, packet), overload or "default")
            ops.impl(name, _kernel(op, policy), "AutocastIPU")
    _libraries.extend((fallback, ops))


Policy = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]


def _kernel(op: Any, policy: Policy) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_KEYS):
            args, kwargs = policy(args, kwargs)
            return op(*args, **kwargs)

    return kernel


def _in_lower_precision(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return _cast_all(args, kwargs, _state.dtype)


def _in_float32(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return _cast_all(args, kwargs, torch.float32)


def _with_float32_result(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """These ops take the type of their result, so that no copy of the input is made."""
    is_typed = kwargs.get("dtype") is not None or any(isinstance(arg, torch.dtype) for arg in args)
    if not is_typed and _is_eligible(args[0]):
        kwargs = {**kwargs, "dtype": torch.float32}
    return args, kwargs


def _in_widest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    dtypes = {arg.dtype for arg in args if _is_eligible(arg)}
    return _cast_all(args, kwargs, torch.float32) if len(dtypes) > 1 else (args, kwargs)


def _cast_all(
    args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(_cast(arg, dtype) for arg in args), {name: _cast(value, dtype) for name, value in kwargs.items()}


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_cast(part, dtype) for part in value)
    if not _is_eligible(value) or value.dtype == dtype:
        return value
    is_weight = value.dtype == torch.float32 and value.requires_grad and value.is_leaf and not value._is_view()
    if dtype == torch.float32 or not is_weight:
        return value.to(dtype)
    kept = _state.copies.get(id(value))
    if kept is None:
        kept = _state.copies[id(value)] = (value, value.to(dtype))
        if _state.on_copy is not None:
            _state.on_copy(kept[1])
    return kept[1]


def _is_eligible(value: Any) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.is_floating_point()
        and value.dtype != torch.float64
        and value.device.type == "meta"
    )
