"""The memory answer on traces of real models: exact against the recorded step, and in the right order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manager.workload.memory_answer import MemoryAnswer, memory_of
from manager.workload.memory_device import MemoryDevice
from manager.workload.placement import Placement
from tasks.job import MethodChoice
from tasks.sample_units import CHUNK_TOKENS
from tasks.step_trace import LOSSES, StepTrace, TraceRequest

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
DECODER: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
}
PLACEMENTS = st.sampled_from(
    [Placement(), Placement(replicas=2, sharding="ddp"), Placement(replicas=8, sharding="fsdp")]
)
BATCHES, LENGTHS = st.integers(1, 64), st.integers(16, 2048)
QUICK = settings(max_examples=60, deadline=None)


def request_of(method: str = "full", **others: Any) -> TraceRequest:
    settings_of = {"task": "causal-lm", "precision": "bf16", "padded": False, **others}
    return TraceRequest(config=DECODER, method=MethodChoice(kind=method, lora_rank=8), **settings_of)


@lru_cache(maxsize=32)
def traced(
    method: str, checkpointing: bool = False, layers: int | None = None, with_rank: bool = False, loss: str = "plain"
) -> StepTrace:
    from tasks.profile import trace  # Seconds to load.

    request = request_of(method, gradient_checkpointing=checkpointing, layers=layers, loss=loss)
    return trace(request, with_rank=with_rank)


def answer(trace: StepTrace, batch: int, length: int, placement: Placement, rank: int | None = None) -> MemoryAnswer:
    return memory_of(trace, batch=batch, length=length, rank=rank, device=BARE, placement=placement)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(("method", "checkpointing"), [("full", False), ("full", True), ("lora", False)])
def test_the_answer_is_the_recorded_peak(method: str, checkpointing: bool, accumulate: bool) -> None:
    from tasks.tracing.traced_step import record_step

    batch, length = 3, 160
    request = request_of(method, gradient_checkpointing=checkpointing)
    recorded = record_step(request, batch=batch, length=length, accumulate=accumulate)
    found = memory_of(
        traced(method, checkpointing),
        batch=batch,
        length=length,
        evaluation_batch=batch,
        device=BARE,
        accumulates=accumulate,
    )
    exact = recorded.peak_bytes() + recorded.weights_bytes + recorded.optimizer_state_bytes
    # What is added while gradients accumulate is the largest of them, which need not be the one at the peak.
    tensors_bytes = found.training_bytes - found.allocator_reserve
    assert exact * 0.999 <= tensors_bytes <= exact * (1.02 if accumulate else 1.001)


@QUICK
@given(batch=BATCHES, length=LENGTHS, more=st.tuples(st.integers(0, 8), st.integers(0, 64)), placement=PLACEMENTS)
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_memory_never_falls_with_batch_length_or_layers(
    method: str, batch: int, length: int, more: tuple[int, int], placement: Placement
) -> None:
    small = answer(traced(method), batch, length, placement)
    assert small.total_bytes <= answer(traced(method), batch + more[0], length + more[1], placement).total_bytes
    # Each trace has a replay of its own, in segments of 2 and 20 MiB: tensors are compared between traces.
    assert small.allocated_bytes <= answer(traced(method, layers=9), batch, length, placement).allocated_bytes


@QUICK
@given(batch=BATCHES, length=LENGTHS, more=st.tuples(st.integers(0, 8), st.integers(0, 64)), placement=PLACEMENTS)
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_memory_never_falls_with_a_chunked_loss_either(
    method: str, checkpointing: bool, batch: int, length: int, more: tuple[int, int], placement: Placement
) -> None:
    trace = traced(method, checkpointing, loss="chunked")
    small = answer(trace, batch, length, placement)
    assert small.total_bytes <= answer(trace, batch + more[0], length + more[1], placement).total_bytes


@QUICK
@given(batch=BATCHES, length=LENGTHS)
@pytest.mark.parametrize(("method", "checkpointing"), [("full", False), ("full", True), ("lora", True)])
def test_slices_of_the_loss_save_memory_from_a_few_on(
    method: str, checkpointing: bool, batch: int, length: int
) -> None:
    assume(batch * length >= 8 * CHUNK_TOKENS)
    plain, chunked = (answer(traced(method, checkpointing, loss=loss), batch, length, Placement()) for loss in LOSSES)
    assert chunked.allocated_bytes <= plain.allocated_bytes
    assert chunked.loss_chain <= plain.loss_chain


@QUICK
@given(batch=BATCHES, length=LENGTHS, rank=st.integers(1, 128), more=st.integers(0, 32), placement=PLACEMENTS)
def test_memory_never_falls_with_rank(batch: int, length: int, rank: int, more: int, placement: Placement) -> None:
    trace = traced("lora", with_rank=True)
    small, large = (answer(trace, batch, length, placement, rank=asked) for asked in (rank, rank + more))
    assert small.total_bytes <= large.total_bytes


@QUICK
@given(batch=BATCHES, length=LENGTHS, placement=PLACEMENTS)
def test_methods_and_checkpointing_stand_in_their_order(batch: int, length: int, placement: Placement) -> None:
    full, lora, qlora = (answer(traced(method), batch, length, placement) for method in ("full", "lora", "qlora"))
    assert lora.gradients + lora.optimizer_state <= full.gradients + full.optimizer_state
    assert qlora.weights <= lora.weights
    for method in ("full", "lora"):
        kept = answer(traced(method, checkpointing=True), batch, length, placement)
        plain = answer(traced(method), batch, length, placement)
        assert kept.allocated_bytes <= plain.allocated_bytes
