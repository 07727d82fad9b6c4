"""A shipped trace brought to the rank, the number of labels or the half precision that is asked.

Exact for the rank and for the sizes of weights, gradients and state; labels beyond the shipped number are taken as one
more column each of a linear head on one vector per sample (scores and their gradients, a few bytes a sample, are left
out).
"""

from __future__ import annotations

from dataclasses import replace

from tasks.step_trace import MemoryPoint, OpGroup, Polynomial, StepTrace, TensorSums

_SHIPPED_RANK = 16
_LARGE_ELEMENTS = 4096
_BLOCK_ELEMENTS = 256
_ADAMW_MOVES = 7
"""Weight, gradient and two moments read; weight and two moments written."""


def at_rank(trace: StepTrace, rank: int) -> StepTrace:
    """The trace with R put in its polynomials, and its sums counted for that rank."""
    if trace.rank is not None:
        return trace
    width = trace.trainable.bytes / trace.trainable.elements
    more = round(trace.weights_bytes.get("R", 0.0) * (rank - _SHIPPED_RANK) / width)
    sums = trace.trainable
    return replace(
        trace,
        rank=rank,
        parameters=trace.parameters + more,
        trainable_parameters=trace.trainable_parameters + more,
        weights_bytes=_in_rank(trace.weights_bytes, rank),
        optimizer_state_bytes=_in_rank(trace.optimizer_state_bytes, rank),
        trainable=_scaled(sums, more),
        memory=tuple(
            MemoryPoint(phase=point.phase, lines={name: _in_rank(line, rank) for name, line in point.lines.items()})
            for point in trace.memory
        ),
        ops=tuple(replace(op, flops=_in_rank(op.flops, rank), bytes=_in_rank(op.bytes, rank)) for op in trace.ops),
        layer_activation_bytes=_in_rank(trace.layer_activation_bytes, rank),
    )


def with_labels(trace: StepTrace, *, more: int, elements: int, width: int) -> StepTrace:
    """The trace of a head with more (or fewer) labels.

    Args:
        trace: with the shipped number of labels.
        more: labels beyond them; may be negative.
        elements: parameters of one label.
        width: those of them in its weight, without its bias.
    """
    sums = trace.trainable
    element_bytes = sums.bytes / sums.elements
    added = more * elements
    added_bytes = added * element_bytes
    # PEFT keeps the untrained head beside the one that learns.
    copies = 2 if trace.method in ("lora", "qlora") else 1
    return replace(
        trace,
        parameters=trace.parameters + copies * added,
        trainable_parameters=trace.trainable_parameters + added,
        weights_bytes=_plus(trace.weights_bytes, copies * added_bytes),
        optimizer_state_bytes=_plus(trace.optimizer_state_bytes, 2 * added_bytes),
        trainable=_wider_head(sums, more, added, width),
        memory=tuple(
            replace(point, lines={**point.lines, "gradients": _plus(point.lines.get("gradients", {}), added_bytes)})
            if point.phase in ("backward", "update")
            else point
            for point in trace.memory
        ),
        ops=(*trace.ops, *_head_ops(trace, more * width, added_bytes)) if more > 0 else trace.ops,
        root_weight_bytes=trace.root_weight_bytes + round(copies * added_bytes),
    )


def in_float16(trace: StepTrace, precision: str) -> StepTrace:
    """The trace of the same step with float16 in place of bfloat16: the same sizes, other units."""
    ops = tuple(replace(op, dtype="float16") if op.dtype == "bfloat16" else op for op in trace.ops)
    return replace(trace, precision=precision, ops=ops)


def _in_rank(polynomial: Polynomial, rank: int) -> Polynomial:
    plain = {name: value for name, value in polynomial.items() if "R" not in name}
    for carrier, plain_name in (("R", "1"), ("BSR", "BS")):
        if carrier in polynomial:
            plain[plain_name] = plain.get(plain_name, 0.0) + polynomial[carrier] * rank
    return plain


def _plus(polynomial: Polynomial, constant: float) -> Polynomial:
    return {**polynomial, "1": polynomial.get("1", 0.0) + constant}


def _scaled(sums: TensorSums, more: int) -> TensorSums:
    """Adapters of another rank: as many tensors, larger or smaller in one dimension."""
    elements = sums.elements + more
    ratio = elements / sums.elements
    return replace(
        sums,
        elements=elements,
        bytes=round(sums.bytes * ratio),
        largest_elements=round(sums.largest_elements * max(1.0, ratio)),
        elements_large=min(elements, round(sums.elements_large * ratio)),
        blocks_large=round(sums.blocks_large * ratio),
        factored_elements=sums.factored_elements + more,
        matrix_elements=sums.matrix_elements + more,
    )


def _wider_head(sums: TensorSums, more: int, added: int, width: int) -> TensorSums:
    before, after = 2 * width, (2 + more) * width
    large = (after if after >= _LARGE_ELEMENTS else 0) - (before if before >= _LARGE_ELEMENTS else 0)
    return replace(
        sums,
        elements=sums.elements + added,
        bytes=sums.bytes + round(added * sums.bytes / sums.elements),
        largest_elements=max(sums.largest_elements, after),
        elements_large=sums.elements_large + large,
        blocks_large=sums.blocks_large + large // _BLOCK_ELEMENTS,
        factored_elements=sums.factored_elements + more * width,
        factor_elements=sums.factor_elements + more,
        matrix_elements=sums.matrix_elements + more * width,
    )


def _head_ops(trace: StepTrace, elements: int, added_bytes: float) -> tuple[OpGroup, ...]:
    dtype = "float32" if trace.precision == "fp32" else "bfloat16"
    # The gradient of what the head reads is needed by all methods but the one that freezes what is below it.
    backward = 2.0 if trace.method == "frozen" else 4.0
    moved: Polynomial = {"1": added_bytes}
    return (
        OpGroup(phase="forward", kind="matmul", dtype=dtype, count=1, flops={"B": 2.0 * elements}, bytes=moved),
        OpGroup(phase="backward", kind="matmul", dtype=dtype, count=1, flops={"B": backward * elements}, bytes=moved),
        OpGroup(phase="update", kind="update", dtype=dtype, count=1, flops={}, bytes={"1": _ADAMW_MOVES * added_bytes}),
    )
