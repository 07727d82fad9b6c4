"""Whose kernels run on meta tensors: CUDA's or a CPU's choice of attention, dropout and optimizer kernels.

Owns what a device decides below the model: the attention kernel (`sdp_utils.cpp` of torch 2.13), dropout's one-byte
mask, fused optimizers, ops whose result depends on data, and memory that a kernel takes while it runs.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx.experimental._config as fx_config
import torch.nn.functional as functional
from torch.utils import _foreach_utils as foreach_utils

from tasks.tracing import autocast

aten = torch.ops.aten

_TORCH_ATTENTION = functional.scaled_dot_product_attention
_TORCH_DROPOUT = functional.dropout

MASK_ALIGNMENT = 16
"""Elements to which the memory-efficient kernel pads the last dimension of a mask."""
FLASH_MAX_HEAD = 256
HALVES = (torch.float16, torch.bfloat16)


@dataclass(slots=True, kw_only=True)
class Kernels:
    """The kernels of one device; counts which attention was met."""

    device: str = "cuda"
    """cuda or cpu."""
    attention: str = "auto"
    """auto, math, efficient or flash."""
    met: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Put them in place of what meta tensors would take."""
        with contextlib.ExitStack() as stack:
            swaps: list[tuple[Any, str, Any]] = [(functional, "scaled_dot_product_attention", self._attention)]
            if self.device == "cuda":
                swaps.append((functional, "dropout", _cuda_dropout))
            swaps += [(owner, name, _with_meta(getattr(owner, name))) for owner, name in _device_lists(self.device)]
            # Clipping takes them on a CPU too, where optimizers do not.
            swaps.append((foreach_utils, "_device_has_foreach_support", _always))
            # Indexing with a mask takes all elements.
            swaps.append((fx_config, "meta_nonzero_assume_all_nonzero", True))
            for owner, name, new in swaps:
                stack.enter_context(_swapped(owner, name, new))
            yield

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if autocast.is_active():
            query, key, value = (_to_compute_dtype(part) for part in (query, key, value))
            attn_mask = None if attn_mask is None else _to_compute_dtype(attn_mask)
        call = _Attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
        name = call.kernel(self.device, self.attention)
        self.met[name] = self.met.get(name, 0) + 1
        with autocast.no_autocast():
            return call.run(name)


@dataclass(frozen=True, slots=True)
class _Attention:
    """One call of scaled_dot_product_attention."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    dropout: float
    is_causal: bool
    scale: float | None
    enable_gqa: bool

    def kernel(self, device: str, wanted: str) -> str:
        """The first of flash, efficient and math that is wanted and can take this call."""
        if device == "cpu":
            can_cpu = self.dropout == 0.0 and self.query.dim() == 4 and wanted in ("auto", "flash")
            return "flash_for_cpu" if can_cpu and not self._mask_learns() else "math"
        if wanted in ("auto", "flash") and self._can_flash():
            return "flash"
        # A kernel that was asked for and cannot run falls to the next, as torch does by itself.
        return "efficient" if wanted != "math" and self._can_be_efficient() else "math"

    def run(self, name: str) -> torch.Tensor:
        if name == "flash":
            return self._flash()
        if name == "efficient":
            return self._efficient()
        if name == "flash_for_cpu":
            key, value = self._repeated_heads()
            mask = self._float_mask()
            args = (self.query, key, value, self.dropout, self.is_causal)
            out: torch.Tensor = aten._scaled_dot_product_flash_attention_for_cpu(
                *args, attn_mask=mask, scale=self.scale
            )[0]
            return out
        return _TORCH_ATTENTION(
            self.query,
            self.key,
            self.value,
            self.mask,
            self.dropout,
            self.is_causal,
            scale=self.scale,
            enable_gqa=self.enable_gqa,
        )

    def _mask_learns(self) -> bool:
        return self.mask is not None and self.mask.requires_grad

    def _is_grouped(self) -> bool:
        return self.enable_gqa and self.query.shape[1] != self.key.shape[1]

    def _can_flash(self) -> bool:
        head = self.query.shape[-1]
        is_shape = self.query.dim() == 4 and head == self.key.shape[-1] == self.value.shape[-1] <= FLASH_MAX_HEAD
        is_square = not self.is_causal or self.query.shape[-2] == self.key.shape[-2]
        return self.mask is None and self.query.dtype in HALVES and is_shape and is_square

    def _can_be_efficient(self) -> bool:
        aligned_elements = 16 // self.query.element_size()
        is_aligned = all(part.shape[-1] % aligned_elements == 0 for part in (self.query, self.key, self.value))
        return self.query.dim() == 4 and is_aligned and not self._is_grouped()

    def _flash(self) -> torch.Tensor:
        head = self.query.shape[-1]
        missing = -head % 8
        query, key, value = (
            functional.pad(part, (0, missing)) if missing else part for part in (self.query, self.key, self.value)
        )
        out: torch.Tensor = aten._scaled_dot_product_flash_attention(
            query, key, value, self.dropout, self.is_causal, False, scale=self.scale or 1 / math.sqrt(head)
        )[0]
        return out[..., :head] if missing else out

    def _efficient(self) -> torch.Tensor:
        learns = any(part.requires_grad for part in (self.query, self.key, self.value)) and torch.is_grad_enabled()
        mask = self._float_mask()
        if mask is not None:
            keys = mask.shape[-1]
            if keys % MASK_ALIGNMENT:
                mask = functional.pad(mask, (0, -keys % MASK_ALIGNMENT))[..., :keys]
            mask = mask.expand(*self.query.shape[:-1], self.key.shape[-2])
        args = (self.query, self.key, self.value, mask, learns, self.dropout, self.is_causal)
        out: torch.Tensor = aten._scaled_dot_product_efficient_attention(*args, scale=self.scale)[0]
        return out

    def _float_mask(self) -> torch.Tensor | None:
        """Each call makes its own additive mask of a boolean one, and keeps it for the backward pass."""
        mask = self.mask
        if mask is None or mask.dtype != torch.bool:
            return mask
        zero = torch.zeros((), dtype=self.query.dtype, device=mask.device)
        lowest = torch.full((), -math.inf, dtype=self.query.dtype, device=mask.device)
        return torch.where(mask, zero, lowest)

    def _repeated_heads(self) -> tuple[torch.Tensor, torch.Tensor]:
        if not self._is_grouped():
            return self.key, self.value
        times = self.query.shape[1] // self.key.shape[1]
        return self.key.repeat_interleave(times, 1), self.value.repeat_interleave(times, 1)


def workspace_bytes(name: str, args: Sequence[Any]) -> int:
    """Memory that a CUDA kernel takes from the allocator within one op, results apart.

    Flash attention's backward: sums over rows and query gradients in float32, sequence and head rounded up, and for
    grouped heads one gradient of keys and values per query head (`flash_api.cpp`). Memory-efficient attention's:
    row sums and blocks of 64 x 64 for query gradients (`kernel_backward.h`, workspace_elements_gq).
    Grouped convolutions: see `_grouped_convolution_bytes`.
    """
    if name in ("convolution", "convolution_backward"):
        return _grouped_convolution_bytes(args, is_backward=name == "convolution_backward")
    if name == "_scaled_dot_product_flash_attention_backward":
        query, key = args[1], args[2]
        batch, heads, length, head = query.shape
        rows, columns = _up(length, 128), _up(head, 32)
        expanded = 2 * batch * heads * key.shape[2] * head * query.element_size() if key.shape[1] != heads else 0
        return int(4 * batch * heads * rows * (columns + 1) + expanded)
    if name == "_scaled_dot_product_efficient_attention_backward":
        batch, heads, length, head = args[1].shape
        blocks = -(-length // 64) * -(-head // 64)
        return int(4 * batch * heads * length + batch * heads * blocks * (16 + 4 * 64 * 64))
    if name == "embedding_dense_backward":
        # Sorted indices and their origins in 8 bytes each, counts in 8, and the sort's own buffer.
        return int(args[1].numel() * 8 * 5)
    if name == "masked_scatter":
        # The mask at full size, and a sum over what stands before each element in 8 bytes (`IndexKernel.cpp`).
        return int(args[0].numel() * (1 + 8))
    if name == "masked_scatter_backward":
        # The mask at full size, and what it selects as indices of 8 bytes for each dimension (`Nonzero.cu`).
        return int(args[0].numel() + 8 * args[0].dim() * math.prod(args[2]))
    return 0


def _grouped_convolution_bytes(args: Sequence[Any], *, is_backward: bool) -> int:
    """Copies of images in the layout of tensor cores, channels last, where groups have several channels each.

    cuDNN makes them of 2-byte operands in its workspace (NVIDIA, Convolutional Layers User's Guide, "Tensor Layouts In
    Memory"); milabench's 20 figures of RegNet show them for forward and backward, those of ResNet none without groups.
    """
    result, images, weight, *rest = args if is_backward else (None, args[0], args[1], *args[2:])
    strides, paddings, dilations, groups = rest[1], rest[2], rest[3], rest[6]
    channels = images.shape[1]
    if images.dim() != 4 or not 1 < groups < channels or images.element_size() != 2 or not images.is_contiguous():
        return 0
    if is_backward:
        return int(images.element_size() * (result.numel() + 2 * images.numel()))
    edges = zip(images.shape[2:], weight.shape[2:], strides, paddings, dilations, strict=True)
    pixels = math.prod(
        (edge + 2 * pad - step * (size - 1) - 1) // stride + 1 for edge, size, stride, pad, step in edges
    )
    return int(images.element_size() * (images.numel() + images.shape[0] * weight.shape[0] * pixels))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@contextlib.contextmanager
def _swapped(owner: Any, name: str, new: Any) -> Iterator[None]:
    """Another value of an attribute within the block."""
    before = getattr(owner, name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _to_compute_dtype(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point() or tensor.dtype == autocast.compute_dtype():
        return tensor
    return tensor.to(autocast.compute_dtype())


def _cuda_dropout(
    input: torch.Tensor,  # noqa: A002
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """CUDA keeps a mask of one byte per element; other devices keep the noise."""
    if training and 0.0 < p < 1.0 and not inplace:
        dropped: torch.Tensor = torch.native_dropout(input, p, True)[0]
        return dropped
    return _TORCH_DROPOUT(input, p, training, inplace)


def _device_lists(device: str) -> list[tuple[Any, str]]:
    """Functions that list the devices with kernels over many tensors, and who holds them."""
    # The package hides its modules behind names of classes.
    holders = [foreach_utils, *(importlib.import_module(f"torch.optim.{name}") for name in ("optimizer", "adam"))]
    names = ["_get_fused_kernels_supported_devices"]
    if device == "cuda":
        names.append("_get_foreach_kernels_supported_devices")
    return [(holder, name) for holder in holders for name in names if hasattr(holder, name)]


def _always(_device: torch.device) -> bool:
    return True


def _with_meta(listing: Any) -> Any:
    return lambda: [*listing(), "meta"]
