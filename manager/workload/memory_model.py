"""A trace made ready for thousands of questions about memory: compiled polynomials and the sizes that follow from them.

Owns what is true of the step on one device before it is placed: its moments, the static tensors, the state of another
optimizer than the traced one, any LoRA rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from manager.workload.identity import ByIdentity
from manager.workload.optimizers import optimizer_cost
from manager.workload.polynomial import (
    RANK,
    Monomials,
    Row,
    carries_rank,
    compile_polynomial,
    monomials,
    slope,
    value,
)
from tasks.step_trace import LINES, StepTrace

_TRACED_RANK = 16
"""At which `TensorSums` are given where the polynomials carry R."""
_PACKED_BYTES = 1.3
"""Per parameter at most where all linear layers are in 4 bits: half a byte, scales, embeddings and head in 2 or 4."""
_MIXED = frozenset({"bf16-mixed", "fp16-mixed"})
MERGING_METHODS = frozenset({"lora", "qlora"})


class Moment(NamedTuple):
    """Bytes alive at one moment of the step on one device, in the order of LINES."""

    phase: str
    gradients: float
    weight_copies: float
    activations: float
    checkpoint_stash: float
    loss_chain: float
    temporaries: float
    inputs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """What stands through the whole step, in bytes on one device that holds everything."""

    weights: float
    trainable: float
    """Trainable parameters, and so their gradients."""
    optimizer_state: float
    update: float
    """Temporaries of the optimizer."""
    layer: float
    """Largest repeated layer; 0 where none repeats."""
    root: float
    """Parameters outside repeated layers."""
    root_trainable: float
    layer_trainable: float
    largest_gradient: float
    """Of a single tensor."""
    kept_share: float = 1.0
    """Of the gradients, on one device of a tensor-parallel group."""


class _CompiledPoint(NamedTuple):
    phase: str
    rows: tuple[Row, ...]
    """By LINES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModel:
    """The compiled memory of one trace."""

    trace: StepTrace
    points: tuple[_CompiledPoint, ...]
    weights: Row
    optimizer_state: Row
    layer_input: Row
    needs_rank: bool

    def at(self, *, batch: int, length: int, rank: int | None) -> Monomials:
        """The monomials of one question.

        Raises:
            ValueError: no rank for polynomials that carry one, or another than the traced one.
        """
        if self.needs_rank:
            if rank is None:
                raise ValueError("this trace holds for any LoRA rank: name one")
        elif rank is not None and rank != self.trace.rank:
            raise ValueError(f"traced at rank {self.trace.rank}, asked for {rank}")
        return monomials(batch=batch, length=length, rank=rank or 0)

    def moments(self, at: Monomials, *, evaluation: bool) -> list[Moment]:
        """The traced moments of training, or those of evaluation."""
        return [
            # Fitted coefficients may dip below zero by a rounding.
            Moment(phase, *[max(0.0, value(row, at)) if row else 0.0 for row in rows])
            for phase, rows in self.points
            if (phase == "evaluation") == evaluation
        ]

    def static(self, at: Monomials, optimizer: str) -> Static:
        """Static tensors with this optimizer's state."""
        trace, sums = self.trace, self.trace.trainable
        weights = value(self.weights, at)
        # Adapters are the only weights that grow with the rank, and all of them train.
        trainable = sums.bytes + slope(self.weights, RANK) * (at[RANK] - _TRACED_RANK if self.needs_rank else 0.0)
        grown = trainable / sums.bytes if sums.bytes else 1.0
        cost = optimizer_cost(optimizer, sums)
        state = value(self.optimizer_state, at) if optimizer == trace.optimizer else cost.state_bytes * grown
        layer = float(trace.layer_weight_bytes)
        root = float(trace.root_weight_bytes) if layer else weights
        has_adapters = trace.method in MERGING_METHODS
        root_trainable = 0.0 if has_adapters and layer else min(root, trainable)
        width = sums.bytes / sums.elements if sums.elements else 0.0
        return Static(
            weights=weights,
            trainable=trainable,
            optimizer_state=state,
            update=cost.update_bytes * grown,
            layer=layer,
            root=root,
            root_trainable=root_trainable,
            layer_trainable=trainable / max(1, trace.layers)
            if has_adapters
            else min(layer, trainable - root_trainable),
            largest_gradient=sums.largest_elements * width,
        )

    @property
    def is_mixed(self) -> bool:
        """Whether products run on 2-byte copies of float32 weights."""
        return self.trace.precision in _MIXED


def unpacked_note(trace: StepTrace) -> str:
    """That experts are not in 4 bits, for people; empty where they are, or where there are none.

    transformers 5 keeps the experts of a layer in one tensor; bitsandbytes packs the weights of linear layers only.
    """
    has_experts = any("expert" in note.casefold() for note in trace.notes)
    is_wide = trace.weights_bytes.get("1", 0.0) > _PACKED_BYTES * trace.parameters
    if trace.method != "qlora" or not has_experts or not is_wide:
        return ""
    return "experts stay in 16 bits under qlora: transformers keeps them in one tensor that bitsandbytes does not pack"


def memory_model(trace: StepTrace) -> MemoryModel:
    """The compiled trace; remembered for the traces that were asked for last."""
    return _compiled(ByIdentity(trace))


@lru_cache(maxsize=64)
def _compiled(key: ByIdentity) -> MemoryModel:
    trace = key.trace
    points = tuple(
        _CompiledPoint(point.phase, tuple(compile_polynomial(point.lines.get(line, {})) for line in LINES))
        for point in trace.memory
    )
    weights = compile_polynomial(trace.weights_bytes)
    state = compile_polynomial(trace.optimizer_state_bytes)
    rows = (weights, state, *(row for point in points for row in point.rows))
    return MemoryModel(
        trace=trace,
        points=points,
        weights=weights,
        optimizer_state=state,
        layer_input=compile_polynomial(trace.layer_activation_bytes),
        needs_rank=any(carries_rank(row) for row in rows),
    )
