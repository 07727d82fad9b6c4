"""Synthetic step traces: a decoder's step as closed formulas, for tests of what computes with traces.

The shapes are right and the sizes plausible (after Korthikanti et al. 2022, arXiv:2205.05198); they are no estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.step_trace import MemoryPoint, OpGroup, Polynomial, StepTrace, TensorSums

_BLOCK = 256
_LARGE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """What a synthetic trace is made of."""

    layers: int = 4
    hidden: int = 256
    vocabulary: int = 1000
    method: str = "full"
    """full, lora, qlora or frozen."""
    precision: str = "bf16"
    gradient_checkpointing: bool = False
    loss: str = "plain"
    optimizer: str = "adamw"
    with_rank: bool = False
    """Whether the polynomials carry the LoRA rank."""
    rank: int = 16


def make_trace(shape: StepShape | None = None) -> StepTrace:
    """A trace of a decoder of this shape."""
    shape = shape or StepShape()
    hidden, layers, width = shape.hidden, shape.layers, _width(shape)
    layer, root = 12 * hidden * hidden, 2 * shape.vocabulary * hidden
    base = layers * layer + root
    # Four bits and a scale per weight of a quantized layer.
    stored = layers * round(layer * 0.5625) + root * width if shape.method == "qlora" else base * width
    adapters = 12 * layers * hidden if shape.method in ("lora", "qlora") else 0
    trainable = {"full": base, "frozen": 2 * hidden}.get(shape.method, adapters * shape.rank)
    sums = _sums(trainable, width, tensors=2 + 12 * layers, largest=min(trainable, shape.vocabulary * hidden))
    weights = _in_rank(stored, adapters * width, shape)
    return StepTrace(
        model_type="synthetic",
        task="causal-lm",
        method=shape.method,
        precision=shape.precision,
        optimizer=shape.optimizer,
        gradient_checkpointing=shape.gradient_checkpointing,
        attention=f"flash {layers}",
        loss=shape.loss,
        padded=False,
        rank=shape.rank if adapters and not shape.with_rank else None,
        layers=layers,
        parameters=base + adapters * shape.rank,
        trainable_parameters=trainable,
        weights_bytes=weights,
        optimizer_state_bytes=_in_rank(0 if adapters else 2 * trainable * width, 2 * adapters * width, shape),
        trainable=sums,
        memory=_memory(shape, trainable * width),
        ops=_ops(shape, base),
        layer_weight_bytes=layer * width if shape.method != "qlora" else round(layer * 0.5625),
        root_weight_bytes=root * width,
        layer_activation_bytes={"BS": hidden * width},
        versions={"torch": "2.13.0"},
    )


def _width(shape: StepShape) -> int:
    return 2 if shape.precision in ("bf16", "fp16") else 4


def _in_rank(constant: float, per_rank: float, shape: StepShape) -> Polynomial:
    if shape.with_rank and per_rank:
        return {"1": constant, "R": per_rank}
    return {"1": constant + per_rank * shape.rank}


def _memory(shape: StepShape, gradients: float) -> tuple[MemoryPoint, ...]:
    hidden, width = shape.hidden, _width(shape)
    is_frozen = shape.method == "frozen"
    layer = 0.0 if is_frozen else hidden * (8 * width + 18)
    adapted = _adapter_activations(shape)
    stash: Polynomial = {"BS": (shape.layers - 1) * hidden * width}
    kept: Polynomial = {"BS": shape.layers * layer}
    working: Polynomial = {"BS": 4 * hidden * width}
    logits = 10 * shape.vocabulary
    chain: Polynomial = {"BS": logits} if shape.loss == "plain" else {"K": logits}
    if shape.gradient_checkpointing and not is_frozen:
        # The layer that runs again has its own input among what it keeps.
        kept = {"BS": layer}
    else:
        stash = {}
    for monomial, coefficient in adapted.items():
        kept[monomial] = kept.get(monomial, 0.0) + coefficient
    inputs: Polynomial = {"BS": 24}
    alive = {"activations": kept, "checkpoint_stash": stash, "inputs": inputs}
    grown: Polynomial = {"R": gradients / shape.rank} if shape.with_rank and adapted else {"1": gradients}
    return (
        MemoryPoint(phase="forward", lines={**alive, "loss_chain": chain, "temporaries": working}),
        MemoryPoint(phase="backward", lines={**alive, "gradients": grown, "temporaries": working}),
        MemoryPoint(phase="update", lines={"gradients": grown}),
        MemoryPoint(phase="evaluation", lines={"temporaries": working, "loss_chain": chain, "inputs": inputs}),
    )


def _adapter_activations(shape: StepShape) -> Polynomial:
    """Inputs of the B matrices."""
    if shape.method not in ("lora", "qlora"):
        return {}
    per_rank = 7 * _width(shape) * (1 if shape.gradient_checkpointing else shape.layers)
    return {"BSR": per_rank} if shape.with_rank else {"BS": per_rank * shape.rank}


def _ops(shape: StepShape, parameters: int) -> tuple[OpGroup, ...]:
    dtype = {"fp32": "float32", "bf16": "bfloat16", "bf16-mixed": "bfloat16"}.get(shape.precision, "float16")
    width, per_op = _width(shape), parameters / (7 * shape.layers)
    return tuple(
        OpGroup(
            phase=phase,
            kind="matmul",
            dtype=dtype,
            count=count * 7 * shape.layers,
            flops={"BS": 2 * per_op},
            bytes={"1": per_op * width, "BS": 2 * shape.hidden * width},
        )
        for phase, count in (("forward", 1), ("backward", 2), ("evaluation", 1))
    )


def _sums(elements: int, width: int, *, tensors: int, largest: int) -> TensorSums:
    large = elements if elements >= _LARGE else 0
    return TensorSums(
        tensors=tensors,
        elements=elements,
        bytes=elements * width,
        largest_elements=largest,
        elements_large=large,
        blocks_large=-(-large // _BLOCK),
        factored_elements=elements,
        factor_elements=elements // 64,
        matrix_elements=elements,
    )
