"""Stand-ins for bitsandbytes on meta tensors: linear layers over weights in 4 bits, AdamW with moments in 8 bits.

They keep the same tensors for the same time as bitsandbytes 0.50 does: a layer's weight is unpacked for its forward
product and again for its backward product (its fused kernel, which it takes up to 1,536 tokens, needs less), scales
are unpacked first where they are quantized once more. Nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

BLOCK = 64
"""Weights that share a scale."""
SCALE_BLOCK = 256
"""Scales that share a scale of their own."""
LEAST_8BIT_ELEMENTS = 4096
"""Smaller tensors keep moments in float32."""
OPTIMIZER_BLOCK = 256

_library: list[Any] = []


def quantize_linear_layers(
    model: nn.Module,
    *,
    kept: frozenset[str],
    compute_dtype: torch.dtype,
    double_quant: bool = True,
    keeps_inputs: bool = False,
) -> None:
    """Replace the linear layers of a model outside the kept modules, as transformers does when it loads in 4 bits."""
    _define_ops()
    for name, module in list(model.named_modules()):
        is_linear = type(module) is nn.Linear or type(module).__name__ == "Conv1D"
        if not is_linear or any(name == part or name.startswith(part + ".") for part in kept):
            continue
        rows, columns = module.weight.shape
        shape = (int(rows), int(columns)) if isinstance(module, nn.Linear) else (int(columns), int(rows))
        bias = getattr(module, "bias", None)
        layer = Linear4bit(shape, bias=bias, compute_dtype=compute_dtype, double_quant=double_quant)
        layer.keeps_inputs = keeps_inputs
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


@dataclass(frozen=True, slots=True)
class PackedShape:
    """What packed weights stand for."""

    shape: torch.Size


class Linear4bit(nn.Linear):
    """A frozen linear layer whose weight is packed, two values to a byte."""

    keeps_inputs = False
    """Whether its input is saved although nothing is learnt from it."""

    def __init__(
        self, shape: tuple[int, int], *, bias: nn.Parameter | None, compute_dtype: torch.dtype, double_quant: bool
    ) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = shape
        self.compute_dtype = compute_dtype
        elements = math.prod(shape)
        packed = torch.empty((elements + 1) // 2, 1, dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.weight.quant_state = PackedShape(torch.Size(shape))  # type: ignore[attr-defined]
        self.register_parameter("bias", bias)
        scales = -(-elements // BLOCK)
        # Not stored as buffers of the model, so that no cast of weights reaches them.
        scale_type = torch.uint8 if double_quant else torch.float32
        self.register_buffer("scales", torch.empty(scales, dtype=scale_type, device="meta"), persistent=False)
        if double_quant:
            outer = torch.empty(-(-scales // SCALE_BLOCK), device="meta")
            self.register_buffer("scales_of_scales", outer, persistent=False)
        # The 16 values of nf4, and the 256 of scales.
        self.register_buffer("code", torch.empty(16 + 256 * double_quant, device="meta"), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The product in the compute type, returned in the type of the input."""
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        product: torch.Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            inputs.to(self.compute_dtype),
            self.weight,
            self.scales,
            (self.out_features, self.in_features),
            bias,
            self.keeps_inputs,
        )
        # PEFT copies the result of a layer in 4 bits before it adds to it.
        return product.to(inputs.dtype).clone()


class _Product(torch.autograd.Function):
    """Unpack and multiply, in both directions; only what is packed is kept in between."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        packed: torch.Tensor,
        scales: torch.Tensor,
        shape: tuple[int, int],
        bias: torch.Tensor | None,
        keeps_inputs: bool,
    ) -> torch.Tensor:
        ctx.kept = (packed, scales, shape)
        ctx.inputs = inputs if keeps_inputs else None
        return functional.linear(inputs, _unpacked(packed, scales, shape, inputs.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None, None
        packed, scales, shape = ctx.kept
        gradient = gradients[0]
        return torch.matmul(gradient, _unpacked(packed, scales, shape, gradient.dtype)), None, None, None, None, None


class AdamW8bit(torch.optim.Optimizer):
    """The state and the kernels of bitsandbytes' blockwise AdamW, on meta."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        _define_ops()
        super().__init__(parameters, {})
        self._tables = (torch.empty(256, device="meta"), torch.empty(256, device="meta"))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One kernel per tensor."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(self._new_state(parameter))
                torch.ops.tunefare.adamw_blockwise_(parameter, parameter.grad, list(state.values()))

    def _new_state(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        if parameter.numel() < LEAST_8BIT_ELEMENTS:
            return {name: torch.zeros_like(parameter, dtype=torch.float32) for name in ("state1", "state2")}
        blocks = -(-parameter.numel() // OPTIMIZER_BLOCK)
        state = {name: torch.zeros_like(parameter, dtype=torch.uint8) for name in ("state1", "state2")}
        state |= {name: torch.zeros(blocks, device=parameter.device) for name in ("absmax1", "absmax2")}
        return {**state, "qmap1": self._tables[0], "qmap2": self._tables[1]}


def _unpacked(packed: torch.Tensor, scales: torch.Tensor, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    if scales.dtype == torch.uint8:
        scales = scales.to(torch.float32).add(1.0)
    unpacked: torch.Tensor = torch.ops.tunefare.unpack_nf4(packed, scales, list(shape), dtype)
    return unpacked


def _define_ops() -> None:
    if _library:
        return
    ops: Any = torch.library.Library("tunefare", "DEF")  # type: ignore[no-untyped-call]
    ops.define("unpack_nf4(Tensor packed, Tensor scales, SymInt[] shape, ScalarType dtype) -> Tensor")
    ops.define("adamw_blockwise_(Tensor(a!) weight, Tensor gradient, Tensor(b!)[] state) -> ()")
    ops.impl("unpack_nf4", _new_weight, "Meta")
    ops.impl("adamw_blockwise_", lambda _weight, _gradient, _state: None, "Meta")
    _library.append(ops)


def _new_weight(packed: torch.Tensor, _scales: torch.Tensor, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=packed.device)
