"""The memory answer on synthetic traces whose bytes can be added up by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.units import GIB
from manager.workload.memory_answer import (
    MemoryAnswer,
    fits,
    largest_micro_batch,
    memory_of,
    shown_bytes,
)
from manager.workload.memory_device import MemoryDevice, constant, fit_margin, memory_device
from manager.workload.placement import Placement
from manager.workload.polynomial import compile_polynomial, evaluate, monomials, value
from tasks.step_trace import MONOMIALS, MemoryPoint, StepTrace
from tests.support.trace_factory import StepShape, make_trace

A100 = memory_device("A100-80GB")
FULL = make_trace(StepShape(layers=3, hidden=128, vocabulary=500))
WEIGHTS = 2 * (3 * 12 * 128 * 128 + 2 * 500 * 128)
LARGEST_TENSOR = 2 * 500 * 128


def asked(trace: StepTrace = FULL, *, batch: int = 4, length: int = 64, **others: object) -> MemoryAnswer:
    return memory_of(trace, batch=batch, length=length, device=A100, **others)  # type: ignore[arg-type]


def test_a_compiled_polynomial_knows_every_monomial() -> None:
    polynomial = {name: float(at + 1) for at, name in enumerate(MONOMIALS)}
    at = monomials(batch=3, length=5, rank=7)
    assert value(compile_polynomial(polynomial), at) == evaluate(polynomial, batch=3, length=5, rank=7)
    with pytest.raises(ValueError, match="BBS"):
        compile_polynomial({"BBS": 1.0})


def test_lines_add_up_to_the_peak() -> None:
    answer = asked()
    assert answer.phase == "backward"
    assert answer.total_bytes == answer.training_bytes == sum(answer.lines().values())
    assert answer.allocated_bytes == answer.reserved_bytes - answer.allocator_reserve
    assert answer.weights == answer.gradients == WEIGHTS
    assert answer.optimizer_state == 2 * WEIGHTS
    assert answer.workspace == 2 * 8320 * 1024
    assert answer.context == A100.context_bytes


def test_reserve_follows_what_changes_and_the_loss_chain() -> None:
    answer = asked(evaluation_batch=1)
    changing = 4 * 64 * (3 * 128 * 34 + 4 * 128 * 2 + 24)
    loss_chain = 4 * 64 * 10 * 500
    assert answer.reclaimable_bytes == round(A100.loss_share * loss_chain)
    forward = changing + loss_chain
    assert answer.allocator_reserve == round(A100.live_share * forward) + answer.reclaimable_bytes


def test_evaluation_runs_with_twice_the_micro_batch() -> None:
    assert asked().evaluation_bytes == asked(evaluation_batch=8).evaluation_bytes
    heavy = replace(
        FULL, memory=(*FULL.memory, MemoryPoint(phase="evaluation", lines={"temporaries": {"B": 10 * GIB / 8}}))
    )
    answer = asked(heavy)
    assert answer.phase == "evaluation"
    assert answer.temporaries == 10 * GIB
    assert answer.total_bytes == answer.evaluation_bytes > answer.training_bytes


def test_accumulation_keeps_all_gradients_through_the_forward_pass() -> None:
    once, several = asked(length=512), asked(length=512, accumulates=True)
    assert once.phase == "forward"
    assert once.gradients == 0
    assert several.gradients == WEIGHTS
    backward = asked(length=1, accumulates=True)
    assert backward.temporaries == 4 * 4 * 128 * 2 + LARGEST_TENSOR


def test_another_optimizer_than_the_traced_one() -> None:
    foreach = asked(optimizer="adamw-foreach", length=1)
    assert foreach.phase == "update"
    assert foreach.temporaries == WEIGHTS
    assert asked(optimizer="sgd").optimizer_state == 0
    assert asked(optimizer="adamw-8bit").optimizer_state < asked().optimizer_state * 0.52


def test_saving_needs_weights_and_state_on_the_device_and_a_copy_of_one_tensor_on_the_host() -> None:
    answer = asked()
    assert answer.save_bytes == answer.total_bytes - answer.gradients - answer.activations - (
        answer.temporaries + answer.inputs + answer.loss_chain
    )
    assert answer.host_bytes == LARGEST_TENSOR
    assert memory_of(FULL, batch=4, length=64, device=memory_device(None)).host_bytes == 0


def test_ddp_keeps_buckets_beside_the_gradients() -> None:
    answer = asked(placement=Placement(replicas=2, sharding="ddp"))
    assert answer.gradients == 2 * WEIGHTS
    assert answer.context == A100.context_bytes + A100.collectives_bytes


def test_sharding_divides_what_stands() -> None:
    one, eight = asked(), asked(placement=Placement(replicas=8, sharding="fsdp"))
    assert eight.weights == one.weights / 8
    assert eight.optimizer_state == one.optimizer_state / 8
    assert eight.weight_copies == FULL.root_weight_bytes + 2 * FULL.layer_weight_bytes
    wide = asked(placement=Placement(replicas=8, sharding="fsdp", shard_precision="fp32"))
    assert wide.weights == 2 * eight.weights
    assert wide.weight_copies == eight.weight_copies
    # Gathered whole to be written.
    assert (eight.host_bytes, wide.host_bytes) == (LARGEST_TENSOR, 2 * LARGEST_TENSOR)


def test_offload_moves_the_shards_to_the_host() -> None:
    answer = asked(placement=Placement(replicas=2, sharding="fsdp", cpu_offload=True))
    assert answer.weights == answer.optimizer_state == 0
    assert answer.host_bytes == 4 * WEIGHTS // 2 + LARGEST_TENSOR
    with pytest.raises(ValueError, match="fsdp"):
        Placement(cpu_offload=True)


def test_tensor_parallelism_divides_layers_and_keeps_five_inputs_whole() -> None:
    one, two = asked(), asked(placement=Placement(tensor_parallel=2))
    assert two.weights == FULL.root_weight_bytes + 3 * FULL.layer_weight_bytes / 2
    whole = 4 * 64 * 3 * 5 * 128 * 2
    assert two.activations == whole + (one.activations - whole) / 2


def test_a_rank_is_needed_where_the_trace_holds_for_any() -> None:
    lora = make_trace(StepShape(method="lora", with_rank=True))
    fixed = make_trace(StepShape(method="lora", rank=8))
    with pytest.raises(ValueError, match="rank"):
        asked(lora)
    with pytest.raises(ValueError, match="rank 8"):
        asked(fixed, rank=16)
    at_8 = asked(lora, rank=8, optimizer="sgd-momentum")
    assert at_8.lines() == asked(fixed, optimizer="sgd-momentum").lines()


def test_a_fit_gives_back_the_cached_blocks_and_keeps_a_margin() -> None:
    answer = asked()
    assert fits(answer, answer.needed_bytes, margin=0.0)
    assert not fits(answer, answer.needed_bytes - 1, margin=0.0)
    assert not fits(answer, answer.needed_bytes)
    assert fits(answer, answer.needed_bytes / (1 - fit_margin().value) + 1)
    assert shown_bytes(answer, 80 * GIB) == answer.total_bytes
    assert shown_bytes(answer, answer.needed_bytes + 5) == answer.needed_bytes + 5
    assert shown_bytes(answer, 1) == answer.needed_bytes


def test_a_fit_in_shards_leaves_more_room() -> None:
    placement = Placement(replicas=2, sharding="fsdp")
    answer = asked(placement=placement)
    room = answer.needed_bytes / (1 - fit_margin().value) + 1
    assert fits(answer, room)
    assert not fits(answer, room, placement=placement)
    assert fits(answer, answer.needed_bytes / (1 - fit_margin(is_sharded=True).value) + 1, placement=placement)
    # The search keeps the same room.
    sought = {"limit": 1, "length": 64, "device": A100, "placement": placement}
    assert largest_micro_batch(FULL, memory_bytes=room, **sought) is None  # type: ignore[arg-type]


def test_the_largest_micro_batch_is_the_last_that_fits() -> None:
    memory = asked(batch=100, accumulates=True).needed_bytes

    def largest(limit: int, memory_bytes: float = memory) -> int | None:
        return largest_micro_batch(FULL, limit=limit, memory_bytes=memory_bytes, length=64, device=A100, margin=0.0)

    assert largest(512) == 100
    assert largest(7) == 7
    assert largest(0) is None
    assert largest(512, 1.0) is None
    # The whole share at once needs no accumulation, and so fits where 100 of 101 would be the last.
    assert largest(101, asked(batch=101).needed_bytes) == 101


def test_constants_have_a_range_around_them_and_a_source() -> None:
    for name in ("T4", "L4", "A100", "H100", "H200", "B200", "V100", "no-such-card"):
        device = memory_device(name)
        row = constant("context", name, {"H200": "H200"}.get(name, "*"))
        assert row.low <= row.value <= row.high
        assert 2**28 < device.context_bytes < 2**30
        assert device.basis
    assert memory_device("H100").workspace_bytes == 2 * 32 * 2**20
    assert memory_device("H200").context_bytes > memory_device("H100").context_bytes


def test_a_device_can_be_made_by_hand() -> None:
    bare = MemoryDevice(
        name="bare",
        is_cpu=False,
        context_bytes=0,
        workspace_bytes=0,
        collectives_bytes=0,
        live_share=0.0,
        sharded_live_share=0.0,
        loss_share=0.0,
        basis="",
    )
    answer = memory_of(FULL, batch=1, length=1, device=bare)
    assert answer.total_bytes == answer.allocated_bytes
