"""A shipped trace brought to the rank, the number of labels or the half precision that is asked.

Exact for tensors and ops of any rank, and for sizes of weights, gradients and state of any number of labels; scores and
their gradients, a few bytes a sample and label, are left out. What the allocator holds beside tensors is the shipped
replay's; a note says so where adapters of the asked rank go into blocks of another kind.
"""

from __future__ import annotations

from dataclasses import replace

from manager.profiling.adapt_head import SHIPPED_LABELS, ops_with_labels
from tasks.step_trace import MemoryPoint, OpGroup, Polynomial, StepTrace, TensorSums

_SHIPPED_RANK = 16
_LARGE_ELEMENTS = 4096
_BLOCK_ELEMENTS = 256
_SMALL_BLOCK_BYTES = 2**20
"""Of the allocator's two pools: smaller tensors share segments of 2 MiB (torch CUDACachingAllocator, kSmallSize)."""
OTHER_BLOCKS = f"what the allocator holds is that of rank {_SHIPPED_RANK}, whose adapters are smaller than 1 MiB"
"""Note of a trace whose replay does not hold for its rank: up to 8 % of the need is missing at rank 256, and 2 %
where only the largest adapters outgrow small blocks."""


def at_rank(trace: StepTrace, rank: int) -> StepTrace:
    """The trace with R put in its polynomials, and its sums counted for that rank."""
    if trace.rank is not None:
        return trace
    width = trace.trainable.bytes / trace.trainable.elements
    more = round(trace.weights_bytes.get("R", 0.0) * (rank - _SHIPPED_RANK) / width)
    sums, adapters = trace.trainable, _adapter_elements(trace)
    return replace(
        trace,
        rank=rank,
        parameters=trace.parameters + more,
        trainable_parameters=trace.trainable_parameters + more,
        weights_bytes=_in_rank(trace.weights_bytes, rank),
        optimizer_state_bytes=_in_rank(trace.optimizer_state_bytes, rank),
        trainable=_scaled(sums, rank, adapters),
        memory=tuple(
            MemoryPoint(phase=point.phase, lines={name: _in_rank(line, rank) for name, line in point.lines.items()})
            for point in trace.memory
        ),
        ops=_ops_in_rank(trace.ops, rank),
        later_slices=_ops_in_rank(trace.later_slices, rank),
        layer_activation_bytes=_in_rank(trace.layer_activation_bytes, rank),
        layer_weight_bytes=_layer_at_rank(trace, rank),
        notes=(*trace.notes, OTHER_BLOCKS) if _leaves_small_blocks(sums, rank, adapters) else trace.notes,
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
        ops=ops_with_labels(trace, labels=SHIPPED_LABELS + more, width=width, added_bytes=added_bytes),
        root_weight_bytes=trace.root_weight_bytes + round(copies * added_bytes),
    )


def in_float16(trace: StepTrace, precision: str) -> StepTrace:
    """The trace of the same step with float16 in place of bfloat16: the same sizes, other units."""
    return replace(
        trace, precision=precision, ops=_ops_in_float16(trace.ops), later_slices=_ops_in_float16(trace.later_slices)
    )


def _ops_in_rank(ops: tuple[OpGroup, ...], rank: int) -> tuple[OpGroup, ...]:
    return tuple(replace(op, flops=_in_rank(op.flops, rank), bytes=_in_rank(op.bytes, rank)) for op in ops)


def _ops_in_float16(ops: tuple[OpGroup, ...]) -> tuple[OpGroup, ...]:
    return tuple(replace(op, dtype="float16") if op.dtype == "bfloat16" else op for op in ops)


def _in_rank(polynomial: Polynomial, rank: int) -> Polynomial:
    plain = {name: value for name, value in polynomial.items() if "R" not in name}
    for carrier, plain_name in (("R", "1"), ("BSR", "BS")):
        if carrier in polynomial:
            plain[plain_name] = plain.get(plain_name, 0.0) + polynomial[carrier] * rank
    return plain


def _plus(polynomial: Polynomial, constant: float) -> Polynomial:
    return {**polynomial, "1": polynomial.get("1", 0.0) + constant}


def _leaves_small_blocks(sums: TensorSums, rank: int, adapters: int) -> bool:
    """Whether the mean adapter is small at the shipped rank, and is not at this one."""
    shipped_bytes = sums.bytes * adapters / sums.elements / max(1, _adapter_tensors(sums, adapters))
    return shipped_bytes <= _SMALL_BLOCK_BYTES < shipped_bytes * rank / _SHIPPED_RANK


def _adapter_elements(trace: StepTrace) -> int:
    """Of all adapters at the shipped rank; the rest of what learns is a head."""
    width = trace.trainable.bytes / trace.trainable.elements
    return round(trace.weights_bytes.get("R", 0.0) * _SHIPPED_RANK / width)


def _adapter_tensors(sums: TensorSums, adapters: int) -> int:
    """All that learn but the head's: a matrix, its bias, and another such pair where vectors are more than scores."""
    if sums.elements == adapters:
        return sums.tensors
    vectors = sums.elements - sums.matrix_elements
    return sums.tensors - (1 if vectors == 0 else 2 if vectors <= SHIPPED_LABELS else 4)


def _layer_at_rank(trace: StepTrace, rank: int) -> int:
    """Bytes of a layer whose adapters are of another rank; the few adapters outside layers are taken for theirs."""
    if not trace.layer_weight_bytes:
        return 0
    per_rank = trace.weights_bytes.get("R", 0.0) / max(1, trace.layers)
    return trace.layer_weight_bytes + round(per_rank * (rank - _SHIPPED_RANK))


def _scaled(sums: TensorSums, rank: int, adapters: int) -> TensorSums:
    """Adapters of another rank: as many tensors, larger or smaller in one dimension."""
    more = round(adapters * (rank - _SHIPPED_RANK) / _SHIPPED_RANK)
    elements, head = sums.elements + more, sums.elements - adapters
    ratio = rank / _SHIPPED_RANK
    # Small tensors stay in float32 under 8-bit optimizers: where even the largest adapter is small, all are.
    large = min(sums.elements_large, adapters) * ratio if sums.largest_elements * ratio >= _LARGE_ELEMENTS else 0.0
    head_large = max(0, sums.elements_large - adapters)
    grown = (large + head_large) / max(1, sums.elements_large)
    return replace(
        sums,
        elements=elements,
        bytes=round(sums.bytes * elements / sums.elements),
        # The largest may be the head's, which keeps its size.
        largest_elements=max(round(sums.largest_elements * ratio), min(head, sums.largest_elements)),
        elements_large=min(elements, round(large) + head_large),
        blocks_large=round(sums.blocks_large * grown),
        factored_elements=sums.factored_elements + more,
        # Each adapter has one dimension that is the rank.
        factor_elements=sums.factor_elements + _adapter_tensors(sums, adapters) * (rank - _SHIPPED_RANK),
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
