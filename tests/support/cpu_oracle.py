"""The same step on real tensors: what the CPU's allocator and torch's own counter saw."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import (
    FlopCounterMode,
    conv_flop_count,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from tasks import step
from tasks.step_trace import TraceRequest
from tasks.tracing.batches import Batch, new_batch
from tasks.tracing.losses_by_task import loss_of
from tasks.tracing.prepared import Prepared, prepare
from tasks.tracing.traced_step import MAX_GRAD_NORM

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One training step that really ran, any but the first."""

    peak_bytes: int
    """Above what stood before the step: weights, optimizer state, batch."""
    flops: int
    """Of forward and backward pass, with torch's formulas and the one of grouped convolutions put right."""


def observe(request: TraceRequest, *, batch: int, length: int) -> Observed:
    """Run two steps on the CPU and watch the second for memory, a third for operations."""
    torch.manual_seed(0)
    prepared = prepare(request, layers=request.layers, device="cpu")
    given = new_batch(request, prepared.config, batch=batch, length=length, dtype=prepared.input_dtype, device="cpu")
    if "attention_mask" in given.inputs:
        # One padded position, or the model would take the mask away.
        given.inputs["attention_mask"][0, -1] = 0
    with sdpa_kernel(SDPBackend.MATH) if request.attention == "math" else nullcontext():
        _train(request, prepared, given)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            _train(request, prepared, given)
        with FlopCounterMode(display=False, custom_mapping=_MISSING) as counter:
            _train(request, prepared, given)
    return Observed(peak_bytes=_peak(watched), flops=int(counter.get_total_flops()))


def _train(request: TraceRequest, prepared: Prepared, given: Batch) -> None:
    prepared.tuned.set_training()
    step.run_micro_batch(
        prepared.tuned.model,
        given.inputs,
        given.targets,
        loss_sum=loss_of(request),
        backward=prepared.backward,
        weight=1.0,
        scale=1.0,
    )
    step.update(prepared.optimizer, max_grad_norm=MAX_GRAD_NORM)


def _peak(watched: Any) -> int:
    current = peak = 0
    for event in watched.profiler.kineto_results.events():
        if event.name() == "[memory]":
            current += event.nbytes()
            peak = max(peak, current)
    return peak


def _convolution_backward(
    grad_shape: Any,
    input_shape: Any,
    weight_shape: Any,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: Any,
    out_shape: Any = None,
) -> int:
    """Each gradient costs as much as the forward pass, whose formula heeds groups."""
    once = conv_flop_count(input_shape, weight_shape, grad_shape, transposed=transposed)
    return int(once * (int(output_mask[0]) + int(output_mask[1])))


def _attention(query_shape: Any, key_shape: Any, value_shape: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query_shape, key_shape, value_shape))  # type: ignore[no-untyped-call]


def _attention_backward(grad_shape: Any, query_shape: Any, key_shape: Any, value_shape: Any, *_: Any, **__: Any) -> int:
    flops = sdpa_backward_flop_count(grad_shape, query_shape, key_shape, value_shape)  # type: ignore[no-untyped-call]
    return int(flops)


_MISSING = {
    aten.convolution_backward: _convolution_backward,
    # torch counts the fused attention of GPUs only.
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
