"""The ops of a shipped trace whose head has two labels, brought to another number of labels.

The head's products and the casts of its weight are found by their size; what the loss does with the scores of a sample
(a few bytes a label) stays as it was traced.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.step_trace import OpGroup, Polynomial, StepTrace

SHIPPED_LABELS = 2
"""Of the heads of shipped traces."""
_CAST_BYTES = 6
"""Per element of an autocast copy, or of its gradient's way back: 4 bytes on one side, 2 on the other."""
_ADAMW_MOVES = 7
"""Weight, gradient and two moments read; weight and two moments written."""
_ITEM_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_PER_SAMPLE, _PER_TOKEN = "B", "BS"


def ops_with_labels(trace: StepTrace, *, labels: int, width: int, added_bytes: float) -> tuple[OpGroup, ...]:
    """The trace's ops with a head of so many labels.

    Args:
        trace: with the shipped number of labels.
        labels: of the head.
        width: parameters of one label in the head's weight.
        added_bytes: of what learns, more than before.
    """
    found: set[str] = set()
    ops: list[OpGroup] = []
    for op in trace.ops:
        wider = _wider(op, labels, width)
        if wider is None:
            ops.append(op)
            continue
        heads = min(op.count, _heads(trace, op))
        ops += [replace(op, count=op.count - heads)] if op.count > heads else []
        ops.append(replace(wider, count=heads))
        if op.kind == "matmul":
            found.add(op.phase)
    missing = {"forward", "backward", "evaluation"} & {op.phase for op in trace.ops} - found
    ops += [_added_product(trace, phase, (labels - SHIPPED_LABELS) * width, added_bytes) for phase in sorted(missing)]
    return tuple(_with_update(ops, trace.trainable.bytes, added_bytes))


def _heads(trace: StepTrace, op: OpGroup) -> int:
    """Ops of a group that are the head's: the gradient of what it reads is needed unless all below it is frozen."""
    return 2 if op.kind == "matmul" and op.phase == "backward" and trace.method != "frozen" else 1


def _wider(op: OpGroup, labels: int, width: int) -> OpGroup | None:
    """The head's op of more labels; None where this one is not the head's."""
    ratio = labels / SHIPPED_LABELS
    weight = SHIPPED_LABELS * width
    per = next((name for name in (_PER_SAMPLE, _PER_TOKEN) if op.flops == {name: 2.0 * weight}), None)
    if op.kind == "matmul" and per is not None:
        scores = (labels - SHIPPED_LABELS) * _ITEM_BYTES.get(op.dtype, 4.0)
        moved = {**op.bytes, "1": op.bytes.get("1", 0.0) * ratio, per: op.bytes.get(per, 0.0) + scores}
        return replace(op, flops={per: 2.0 * weight * ratio}, bytes=moved)
    if op.kind == "memory" and op.phase != "update" and op.bytes == {"1": float(_CAST_BYTES * weight)}:
        return replace(op, bytes={"1": _CAST_BYTES * weight * ratio})
    return None


def _added_product(trace: StepTrace, phase: str, elements: int, added_bytes: float) -> OpGroup:
    """Of a head that is no product of this size; one vector per sample is taken for what it reads."""
    dtype = "float32" if trace.precision == "fp32" else "bfloat16"
    products = 2.0 if phase == "backward" and trace.method != "frozen" else 1.0
    moved: Polynomial = {"1": products * added_bytes}
    return OpGroup(
        phase=phase, kind="matmul", dtype=dtype, count=1, flops={_PER_SAMPLE: 2.0 * products * elements}, bytes=moved
    )


def _with_update(ops: list[OpGroup], learnt_bytes: int, added_bytes: float) -> list[OpGroup]:
    """The update over more: the optimizer's largest kernel, and those that go over all gradients (norm, clipping)."""
    update = [op for op in ops if op.phase == "update" and op.kind == "update"]
    largest = max(update, key=lambda op: op.bytes.get("1", 0.0), default=None)

    def grown(op: OpGroup) -> OpGroup:
        times = 0.0
        if op is largest:
            times = _ADAMW_MOVES / op.count
        elif op.phase == "update" and op.kind == "memory":
            times = float(round(op.bytes.get("1", 0.0) / learnt_bytes))
        return replace(op, bytes={**op.bytes, "1": op.bytes.get("1", 0.0) + times * added_bytes}) if times else op

    return [grown(op) for op in ops]
