"""What must hold of the memory answer for every batch, length, rank, depth, method and placement."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from manager.workload.memory_answer import MemoryAnswer, fits, largest_micro_batch, memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import Placement
from tasks.step_trace import OPTIMIZERS, PRECISIONS, StepTrace
from tests.support.trace_factory import StepShape, make_trace

DEVICES = st.sampled_from([None, "L4", "A100-80GB", "H100", "no-such-card"])
PLACEMENTS = st.sampled_from(
    [
        Placement(),
        Placement(replicas=4, sharding="ddp"),
        Placement(replicas=8, sharding="fsdp"),
        Placement(replicas=8, sharding="fsdp", shard_precision="fp32"),
        Placement(replicas=2, sharding="fsdp", cpu_offload=True),
        Placement(tensor_parallel=4),
        Placement(replicas=2, sharding="fsdp", tensor_parallel=2),
    ]
)
SHAPES = st.builds(
    StepShape,
    layers=st.integers(1, 40),
    hidden=st.sampled_from([64, 256, 2048]),
    vocabulary=st.sampled_from([2, 1000, 50_000]),
    method=st.sampled_from(["full", "lora", "qlora", "frozen"]),
    precision=st.sampled_from(PRECISIONS),
    gradient_checkpointing=st.booleans(),
    loss=st.sampled_from(["plain", "chunked"]),
    optimizer=st.sampled_from(OPTIMIZERS),
)
BATCHES = st.integers(1, 300)
LENGTHS = st.integers(1, 8192)
RANKS = st.integers(1, 256)


def answer_of(
    trace: StepTrace,
    *,
    batch: int,
    length: int,
    rank: int | None = None,
    placement: Placement | None = None,
    device: str | None = "A100-80GB",
    optimizer: str | None = None,
    accumulates: bool = False,
) -> MemoryAnswer:
    return memory_of(
        trace,
        batch=batch,
        length=length,
        rank=rank,
        placement=placement or Placement(),
        device=memory_device(device),
        optimizer=optimizer,
        accumulates=accumulates,
    )


@given(
    shape=SHAPES,
    batch=BATCHES,
    length=LENGTHS,
    more=st.tuples(st.integers(0, 40), st.integers(0, 500)),
    placement=PLACEMENTS,
    device=DEVICES,
    optimizer=st.none() | st.sampled_from(OPTIMIZERS),
    accumulates=st.booleans(),
)
def test_memory_never_falls_with_batch_or_length(
    shape: StepShape,
    batch: int,
    length: int,
    more: tuple[int, int],
    placement: Placement,
    device: str | None,
    optimizer: str | None,
    accumulates: bool,
) -> None:
    trace = make_trace(shape)

    def asked(batch: int, length: int) -> MemoryAnswer:
        return answer_of(
            trace,
            batch=batch,
            length=length,
            placement=placement,
            device=device,
            optimizer=optimizer,
            accumulates=accumulates,
        )

    small, large = asked(batch, length), asked(batch + more[0], length + more[1])
    for name in ("total_bytes", "needed_bytes", "training_bytes", "evaluation_bytes", "save_bytes", "host_bytes"):
        assert getattr(small, name) <= getattr(large, name), name
    assert small.total_bytes == sum(small.lines().values())
    assert small.total_bytes == max(small.training_bytes, small.evaluation_bytes, small.save_bytes)
    assert min(small.lines().values()) >= 0


@given(shape=SHAPES, batch=BATCHES, length=LENGTHS, layers=st.integers(1, 20), placement=PLACEMENTS)
def test_memory_never_falls_with_layers(
    shape: StepShape, batch: int, length: int, layers: int, placement: Placement
) -> None:
    deeper = replace(shape, layers=shape.layers + layers)
    small = answer_of(make_trace(shape), batch=batch, length=length, placement=placement)
    large = answer_of(make_trace(deeper), batch=batch, length=length, placement=placement)
    assert small.needed_bytes <= large.needed_bytes
    assert small.total_bytes <= large.total_bytes


@given(
    shape=SHAPES,
    method=st.sampled_from(["lora", "qlora"]),
    batch=BATCHES,
    length=LENGTHS,
    rank=RANKS,
    more=st.integers(1, 64),
    placement=PLACEMENTS,
    optimizer=st.none() | st.sampled_from(OPTIMIZERS),
)
def test_memory_never_falls_with_rank(
    shape: StepShape,
    method: str,
    batch: int,
    length: int,
    rank: int,
    more: int,
    placement: Placement,
    optimizer: str | None,
) -> None:
    trace = make_trace(replace(shape, method=method, with_rank=True))
    small, large = (
        answer_of(trace, batch=batch, length=length, rank=asked, placement=placement, optimizer=optimizer)
        for asked in (rank, rank + more)
    )
    assert small.needed_bytes <= large.needed_bytes
    assert small.total_bytes <= large.total_bytes


@given(shape=SHAPES, batch=BATCHES, length=LENGTHS, placement=PLACEMENTS)
def test_methods_stand_in_their_order(shape: StepShape, batch: int, length: int, placement: Placement) -> None:
    # At rank 4 the synthetic adapters' own activations stay under what full tuning adds.
    full, lora, qlora = (
        answer_of(make_trace(replace(shape, method=method, rank=4)), batch=batch, length=length, placement=placement)
        for method in ("full", "lora", "qlora")
    )
    assert lora.gradients + lora.optimizer_state <= full.gradients + full.optimizer_state
    assert qlora.weights <= lora.weights


@given(shape=SHAPES, batch=BATCHES, length=LENGTHS, placement=PLACEMENTS)
def test_checkpointing_never_needs_more(shape: StepShape, batch: int, length: int, placement: Placement) -> None:
    plain, kept = (
        answer_of(
            make_trace(replace(shape, gradient_checkpointing=asked)), batch=batch, length=length, placement=placement
        )
        for asked in (False, True)
    )
    assert kept.total_bytes <= plain.total_bytes


@given(shape=SHAPES, length=LENGTHS, limit=st.integers(1, 600), memory=st.floats(2e9, 2e11), placement=PLACEMENTS)
def test_the_largest_micro_batch_fits_and_the_next_does_not(
    shape: StepShape, length: int, limit: int, memory: float, placement: Placement
) -> None:
    trace = make_trace(shape)
    found = largest_micro_batch(
        trace,
        limit=limit,
        memory_bytes=memory,
        length=length,
        device=memory_device("A100-80GB"),
        placement=placement,
    )

    def runs(batch: int) -> bool:
        answer = answer_of(trace, batch=batch, length=length, placement=placement, accumulates=batch < limit)
        return fits(answer, memory, placement=placement)

    if found is None:
        assert not runs(1)
    else:
        assert found <= limit
        assert runs(found)
    if found != limit:
        assert not runs((found or 0) + 1)
