"""What each optimizer keeps between steps and needs while it updates, from sums over the trainable tensors.

Sources: torch.optim of torch 2.13 (`adam.py`, `sgd.py`), checked by tests against the optimizers themselves;
bitsandbytes 0.50 (`optim/optimizer.py`, block-wise 8-bit states after Dettmers et al. 2022, arXiv:2110.02861);
Adafactor of transformers 5 (`optimization.py`, after Shazeer and Stern 2018, arXiv:1804.04235). Gradients are no part:
the memory answer counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks.step_trace import TensorSums

_FLOAT32 = 4
_SMALLEST_BLOCK_BYTES = 512
"""The caching allocator rounds each tensor up to this."""
_MAPS_8BIT_BYTES = 2 * 256 * _FLOAT32
"""The two code books of 256 values that all 8-bit states of one device share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerCost:
    """Bytes of one optimizer."""

    state_bytes: float
    """Kept between steps."""
    update_bytes: float
    """Alive only while it updates, gradients apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWork:
    """What one optimizer does in an update, clipping and unscaling of gradients apart."""

    moved_bytes: float
    """Read and written by its kernels."""
    kernels: float
    """Of those that it launches for each tensor; kernels over lists of tensors are few."""


def update_work(name: str, sums: TensorSums) -> UpdateWork:
    """The work of an optimizer of `tasks.step_trace.OPTIMIZERS` over these tensors, counted as a trace counts it.

    Raises:
        KeyError: no such optimizer.
    """
    whole, matrices, per_tensor = _PASSES[name]
    moved = whole * sums.bytes + matrices * sums.matrix_elements * _width(sums)
    if name == "adamw-8bit":
        small = sums.elements - sums.elements_large
        moved += 4 * sums.elements_large + 4 * small * _FLOAT32
    if name == "adafactor":
        moved = _ADAFACTOR_PASSES * sums.elements * _FLOAT32
    return UpdateWork(moved_bytes=moved, kernels=per_tensor * sums.tensors)


def optimizer_cost(name: str, sums: TensorSums) -> OptimizerCost:
    """State and temporaries of an optimizer of `tasks.step_trace.OPTIMIZERS` over these tensors.

    Raises:
        KeyError: no such optimizer.
    """
    return _COSTS[name](sums)


def _adamw_fused(sums: TensorSums) -> OptimizerCost:
    # Its step counters live on the device, one scalar per tensor.
    return OptimizerCost(state_bytes=2 * sums.bytes + sums.tensors * _SMALLEST_BLOCK_BYTES, update_bytes=0.0)


def _adamw_foreach(sums: TensorSums) -> OptimizerCost:
    """The square roots of all second moments of one group exist at once; matrices (which decay) are one group."""
    return OptimizerCost(state_bytes=2.0 * sums.bytes, update_bytes=_largest_group_elements(sums) * _width(sums))


def _adamw_loop(sums: TensorSums) -> OptimizerCost:
    """Per tensor: the root of its second moment, and that divided by the bias correction."""
    return OptimizerCost(state_bytes=2.0 * sums.bytes, update_bytes=2 * sums.largest_elements * _width(sums))


def _adamw_8bit(sums: TensorSums) -> OptimizerCost:
    """Two moments of a byte with a float32 maximum per block of 256; small tensors keep float32 moments."""
    small = sums.elements - sums.elements_large
    large_bytes = 2 * sums.elements_large + 2 * sums.blocks_large * _FLOAT32
    maps_bytes = _MAPS_8BIT_BYTES if sums.elements_large else 0
    return OptimizerCost(state_bytes=large_bytes + maps_bytes + 2 * small * _FLOAT32, update_bytes=0.0)


def _adafactor(sums: TensorSums) -> OptimizerCost:
    """Float32 row and column sums of matrices, the whole second moment of vectors, one scalar per tensor.

    The update goes tensor after tensor, in float32: the squared gradient twice, and copies of gradient and weights
    where those are kept in 2 bytes.
    """
    vectors = sums.elements - sums.factored_elements
    state = (sums.factor_elements + vectors) * _FLOAT32 + sums.tensors * _SMALLEST_BLOCK_BYTES
    copies = 2 if _width(sums) >= _FLOAT32 else 4
    return OptimizerCost(state_bytes=state, update_bytes=copies * sums.largest_elements * _FLOAT32)


def _sgd(sums: TensorSums) -> OptimizerCost:
    """Weight decay is added to a copy of the gradients of the group that decays: the matrices."""
    return OptimizerCost(state_bytes=0.0, update_bytes=sums.matrix_elements * _width(sums))


def _sgd_momentum(sums: TensorSums) -> OptimizerCost:
    return OptimizerCost(state_bytes=float(sums.bytes), update_bytes=sums.matrix_elements * _width(sums))


def _width(sums: TensorSums) -> float:
    """Bytes per trained element."""
    return sums.bytes / sums.elements if sums.elements else 0.0


def _largest_group_elements(sums: TensorSums) -> int:
    return max(sums.matrix_elements, sums.elements - sums.matrix_elements)


_COSTS: dict[str, Callable[[TensorSums], OptimizerCost]] = {
    "adamw": _adamw_fused,
    "adamw-foreach": _adamw_foreach,
    "adamw-loop": _adamw_loop,
    "adamw-8bit": _adamw_8bit,
    "adafactor": _adafactor,
    "sgd": _sgd,
    "sgd-momentum": _sgd_momentum,
}
_PASSES: dict[str, tuple[int, int, int]] = {
    "adamw": (7, 0, 0),
    "adamw-foreach": (21, 0, 0),
    "adamw-loop": (21, 0, 7),
    "adamw-8bit": (3, 0, 1),
    "adafactor": (0, 0, 19),
    "sgd": (3, 3, 0),
    "sgd-momentum": (8, 3, 0),
}
"""Passes over all trainable bytes, over those of matrices (a copy of gradients that decay), and kernels per tensor.
Fused AdamW reads weights, gradients and two moments and writes three of them; lists of tensors go through each
elementwise step of `adam.py` on their own."""
_ADAFACTOR_PASSES = 24
"""Of an update in float32."""
