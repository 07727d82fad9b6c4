"""The formula of FSDP2's memory against FSDP2 itself, traced on torch's fake process group."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
import torch

from manager.workload.memory_answer import memory_of
from manager.workload.memory_device import MemoryDevice
from manager.workload.placement import Placement
from tasks.job import MethodChoice
from tasks.step_trace import MemoryPoint, StepTrace, TraceRequest
from tests.support.sharded_step import SmallLlama, TracedStep, step_alone, step_sharded
from tests.support.tensor_sums import tensor_sums
from tests.support.trace_factory import make_trace

pytestmark = pytest.mark.torch

BARE = MemoryDevice(
    name="bare",
    is_cpu=False,
    context_bytes=0,
    workspace_bytes=0,
    collectives_bytes=0,
    live_share=0.0,
    sharded_live_share=0.0,
    loss_share=0.0,
    basis="nothing but tensors",
)


def trace_of(shape: SmallLlama, step: TracedStep) -> StepTrace:
    """The step on one device as a trace of this one batch and length."""
    layer = 4 * shape.hidden**2 + 3 * shape.hidden * shape.intermediate + 2 * shape.hidden
    root = 2 * shape.vocabulary * shape.hidden + shape.hidden
    parameters = shape.layers * layer + root
    sums = tensor_sums([torch.zeros(shape.vocabulary, shape.hidden, dtype=torch.bfloat16, device="meta")])
    return dataclasses.replace(
        make_trace(),
        optimizer="adamw-foreach",
        layers=shape.layers,
        parameters=parameters,
        trainable_parameters=parameters,
        weights_bytes={"1": 2 * parameters},
        optimizer_state_bytes={"1": 4 * parameters},
        trainable=dataclasses.replace(sums, elements=parameters, bytes=2 * parameters, matrix_elements=parameters),
        memory=tuple(_points(step.moments)),
        layer_weight_bytes=2 * layer,
        root_weight_bytes=2 * root,
        layer_activation_bytes={},
    )


def _points(moments: Iterable[tuple[str, dict[str, int]]]) -> Iterable[MemoryPoint]:
    for phase, kinds in moments:
        others = "temporaries" if phase == "update" else "activations"
        lines = {others if kind == "others" else kind: {"1": float(size)} for kind, size in kinds.items()}
        yield MemoryPoint(phase=phase, lines=lines)


SHAPES = {
    "plain": SmallLlama(),
    "checkpointed": SmallLlama(gradient_checkpointing=True, layers=8),
    "large vocabulary": SmallLlama(vocabulary=16_000, gradient_checkpointing=True),
    "long": SmallLlama(length=1024, batch=1, layers=6),
}


@pytest.mark.parametrize(("name", "world_size"), [*((name, 8) for name in SHAPES), ("large vocabulary", 2)])
def test_the_formula_agrees_with_the_traced_ranks(name: str, world_size: int) -> None:
    shape = SHAPES[name]
    sharded = step_sharded(shape, world_size)
    answer = memory_of(
        trace_of(shape, step_alone(shape)),
        batch=shape.batch,
        length=shape.length,
        evaluation_batch=0,
        device=BARE,
        placement=Placement(replicas=world_size, sharding="fsdp", shard_precision="fp32"),
    )
    static = answer.weights + answer.optimizer_state
    assert static == pytest.approx(sharded.standing_bytes, rel=0.01)
    assert answer.allocated_bytes == pytest.approx(sharded.peak_bytes, rel=0.02)


@pytest.mark.parametrize("name", ["plain", "checkpointed", "large vocabulary"])
def test_a_real_trace_and_the_formula_agree_with_the_traced_ranks(name: str) -> None:
    # Short samples only: under fake tensors transformers builds a causal mask that a real step does without.
    from tasks.profile import trace

    shape = SHAPES[name]
    config = {
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": False,
    }
    request = TraceRequest(
        config=config,
        task="causal-lm",
        method=MethodChoice(kind="full"),
        precision="bf16",
        optimizer="adamw-foreach",
        gradient_checkpointing=shape.gradient_checkpointing,
        padded=False,
        kernels="cpu",
    )
    answer = memory_of(
        trace(request),
        batch=shape.batch,
        length=shape.length,
        evaluation_batch=0,
        device=BARE,
        placement=Placement(replicas=8, sharding="fsdp", shard_precision="fp32"),
    )
    assert answer.allocated_bytes == pytest.approx(step_sharded(shape, 8).peak_bytes, rel=0.02)


def test_one_device_is_the_trace_itself() -> None:
    shape = SHAPES["plain"]
    alone = step_alone(shape)
    answer = memory_of(trace_of(shape, alone), batch=2, length=128, evaluation_batch=0, device=BARE)
    assert answer.allocated_bytes == pytest.approx(alone.peak_bytes, rel=0.005)
