"""How a job is trained on a shape of machine: what is chosen, and that trying everything would choose the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.judge import Judgement, judge_shape
from manager.planner.shape import Shape, shape_of
from manager.planner.variant import StepVariant
from manager.spec.model import RunSpec
from manager.units import GIB
from tasks.step_trace import Polynomial, StepTrace
from tests.support.market_factory import variant_of
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_spec

ASSUMED = shipped_assumptions()
MIXED = ("bf16-mixed", "fp16-mixed", "fp32")


def shape(card: str = "L4", count: float = 1.0, nodes: int = 1) -> Shape:
    """One kind of machine."""
    return shape_of(make_gpu_offer(card, count=count), num_nodes=nodes)


def judged(variants: Sequence[StepVariant], where: Shape, memory_factor: float = 1.0) -> Judgement:
    """The best of them there."""
    card = None if where.card is None else accelerator(where.card)
    return judge_shape(variants, where, card, ASSUMED, memory_factor=memory_factor)


def variant(spec: RunSpec, model: str, tokens: int = 200) -> StepVariant:
    """Checkpointing runs the forward pass once more, which synthetic steps do not know by themselves."""
    made = variant_of(spec, model, tokens=tokens)
    if not spec.training.gradient_checkpointing:
        return made
    return replace(made, traces=replace(made.traces, cuda=_again(made.traces.cuda)))


def _again(trace: StepTrace) -> StepTrace:
    again = [replace(group, phase="backward") for group in trace.ops if group.phase == "forward"]
    return replace(trace, ops=(*trace.ops, *again))


def both(spec: RunSpec, model: str, tokens: int = 200) -> list[StepVariant]:
    """Without and with checkpointing."""
    training = spec.training
    return [
        variant(replace(spec, training=replace(training, gradient_checkpointing=is_on)), model, tokens)
        for is_on in (False, True)
    ]


def seconds(judgement: Judgement) -> float:
    """Infinite where it cannot be trained."""
    assert judgement.reason is None or judgement.seconds is None
    return math.inf if judgement.seconds is None else judgement.seconds.total_s


def how(judgement: Judgement) -> tuple[str, bool, str | None, int | None, int | None]:
    """Precision, checkpointing, sharding, micro-batch, passes."""
    profile, machine = judgement.variant.profile, judgement.machine
    sharding = None if machine is None or machine.replicas == 1 else machine.sharding
    return (
        profile.precision,
        profile.gradient_checkpointing,
        sharding,
        judgement.micro_batch,
        judgement.accumulation,
    )


@pytest.mark.parametrize("card", ["T4", "L4", "A100", "H100"])
@pytest.mark.parametrize("count", [1.0, 2.0, 8.0])
@pytest.mark.parametrize("model", ["minilm", "bert-large", "tinyllama", "mistral"])
def test_the_search_finds_what_trying_everything_finds(card: str, count: float, model: str) -> None:
    variants = [
        one for precision in MIXED for one in both(make_spec(precision=precision, batch_size=32), model, tokens=512)
    ]
    where = shape(card, count)
    alone, runs = [], []
    for one in variants:
        copies, shards = (judged([replace(one, shardings=(sharding,))], where) for sharding in ("ddp", "fsdp"))
        alone += [copies, shards]
        # Shards are for what does not fit otherwise.
        runs += [copies] if copies.takes_whole_share and copies.reason is None else [copies, shards]
    runs = [one for one in runs if one.reason is None]
    # A later precision is for machines on which no earlier one runs.
    first = min((MIXED.index(one.variant.profile.precision) for one in runs), default=0)
    runs = [one for one in runs if one.variant.profile.precision == MIXED[first]]
    found = judged(variants, where)
    if not runs:
        assert found.reason is not None
        assert found.reason in [one.reason for one in alone]
        return
    assert found.reason is None
    assert seconds(found) == min(map(seconds, runs))


def test_checkpointing_is_left_where_plain_training_takes_the_whole_share() -> None:
    plain, checkpointed = both(make_spec(), "minilm")
    found = judged([checkpointed, plain], shape())
    assert how(found) == ("fp32", False, None, 32, 1)
    assert found.takes_whole_share
    assert seconds(found) < seconds(judged([checkpointed], shape()))


def test_checkpointing_is_taken_where_it_alone_fits() -> None:
    plain, checkpointed = both(make_spec(precision="bf16", batch_size=4), "tinyllama", tokens=8192)
    refused = judged([plain], shape())
    assert refused.reason is not None
    assert refused.reason.startswith("does not fit: needs ")
    found = judged([plain, checkpointed], shape())
    assert found.reason is None
    assert found.variant is checkpointed


def test_checkpointing_is_not_taken_where_passes_cost_less_than_computing_again() -> None:
    plain, checkpointed = both(make_spec(precision="bf16", batch_size=32), "tinyllama", tokens=1024)
    alone, other = judged([plain], shape()), judged([checkpointed], shape())
    assert alone.accumulation is not None
    assert other.accumulation is not None
    # A smaller micro-batch, and still less work.
    assert 1 <= other.accumulation < alone.accumulation
    assert seconds(alone) < seconds(other)
    assert judged([plain, checkpointed], shape()).variant is plain


def test_checkpointing_is_taken_where_it_is_faster() -> None:
    # Many small ops: a pass takes as long as their launches, however few samples are in it.
    made = both(make_spec(precision="bf16", batch_size=64), "tinyllama", tokens=512)
    plain, checkpointed = [
        replace(one, traces=replace(one.traces, cuda=_in_small_ops(one.traces.cuda))) for one in made
    ]
    alone, other = judged([plain], shape()), judged([checkpointed], shape())
    assert alone.accumulation is not None
    assert other.accumulation is not None
    assert other.accumulation < alone.accumulation
    assert seconds(other) < seconds(alone) < math.inf
    assert judged([plain, checkpointed], shape()).variant is checkpointed


def _in_small_ops(trace: StepTrace, parts: int = 3_000) -> StepTrace:
    def share(polynomial: Polynomial) -> Polynomial:
        return {name: amount / parts for name, amount in polynomial.items()}

    small = [
        replace(group, count=group.count * parts, flops=share(group.flops), bytes=share(group.bytes))
        for group in trace.ops
    ]
    return replace(trace, ops=tuple(small))


def test_shards_are_taken_where_whole_copies_do_not_fit() -> None:
    one = variant(make_spec(precision="bf16-mixed", batch_size=8), "tinyllama")
    copies = judged([replace(one, shardings=("ddp",))], shape("L4", 8))
    assert copies.reason is not None
    assert copies.reason.startswith("does not fit")
    found = judged([one], shape("L4", 8))
    assert found.reason is None
    assert how(found)[2] == "fsdp"
    roomy = judged([one], shape("A100-80GB", 8))
    assert how(roomy)[2] == "ddp"
    assert judged([replace(one, shardings=("fsdp",))], shape("A100-80GB", 8)).reason is None
    assert how(judged([one], shape("A100-80GB", 1)))[2] is None


def test_a_method_that_is_not_sharded_is_refused() -> None:
    one = replace(variant(make_spec(method="qlora", precision="bf16"), "minilm"), shardings=("fsdp",))
    told = "training program does not run there yet: method.kind qlora is not sharded, weights in 4 bits"
    # The training program looks at what the job asks for, not at how many devices there are.
    assert all((judged([one], shape(count=count)).reason or "").startswith(told) for count in (1, 2))


def test_several_machines_are_several_devices_over_a_slower_link() -> None:
    one = variant(make_spec(), "bert-large")
    near, far = judged([one], shape("A100", 8)), judged([one], shape("A100", 4, nodes=2))
    assert near.machine is not None
    assert far.machine is not None
    assert near.machine.replicas == far.machine.replicas == 8
    assert near.micro_batch == far.micro_batch == 4
    assert near.machine.link is not None
    assert far.machine.link is not None
    assert far.machine.link.bytes_per_s < near.machine.link.bytes_per_s
    assert seconds(near) < seconds(far)
    assert far.machine.placement_on_node.replicas == 4


def test_machines_without_an_accelerator_work_alone() -> None:
    here = make_cpu_offer()
    assert judged([variant(make_spec(), "minilm")], shape_of(here)).reason is None
    found = judged([variant(make_spec(), "minilm")], shape_of(here, num_nodes=2))
    assert found.reason == "training program does not run there yet: 2 machines without an accelerator"


@pytest.mark.parametrize("asked", [1, 4, 32])
def test_the_micro_batch_that_was_asked_for_is_kept(asked: int) -> None:
    found = judged([variant(make_spec(micro_batch=asked), "minilm")], shape())
    assert (found.micro_batch, found.accumulation) == (asked, 32 // asked)


def test_an_asked_micro_batch_that_does_not_fit_is_not_made_smaller() -> None:
    free = judged([variant(make_spec(precision="bf16"), "tinyllama", tokens=1024)], shape())
    assert free.micro_batch is not None
    assert free.micro_batch < 32
    asked = judged([variant(make_spec(precision="bf16", micro_batch=32), "tinyllama", tokens=1024)], shape())
    assert asked.reason is not None
    assert asked.reason.startswith("does not fit: needs ")
    assert asked.missing_bytes is not None
    assert asked.missing_bytes > 0
    assert judged(both(make_spec(precision="bf16", micro_batch=32), "tinyllama", tokens=1024), shape()).reason is None


@pytest.mark.parametrize(
    ("card", "precision"),
    [("T4", "fp16-mixed"), ("RTX8000", "fp16-mixed"), ("L4", "bf16-mixed"), ("A100", "bf16-mixed")],
)
@pytest.mark.parametrize("count", [1, 2, 8])
def test_precision_follows_the_silicon(card: str, precision: str, count: float) -> None:
    variants = [one for name in MIXED for one in both(make_spec(precision=name), "minilm")]
    found = judged(variants, shape(card, count))
    assert found.reason is None
    assert how(found) == (precision, False, None if count == 1 else "ddp", 32 // count, 1)


def test_what_does_not_fit_is_told_of_a_precision_that_runs_there() -> None:
    variants = [variant(make_spec(precision=name), "tinyllama") for name in MIXED]
    found = judged(variants, shape("T4"))
    assert found.variant.profile.precision == "fp16-mixed"
    assert found.reason is not None
    assert found.reason.startswith("does not fit: needs ")
    assert judged(variants[:1], shape("T4")).reason == (
        "training program does not run there yet: T4 does not compute in bfloat16"
    )


def test_of_what_does_not_fit_the_nearest_is_told() -> None:
    variants = both(make_spec(precision="bf16", batch_size=4), "mistral", tokens=4096)
    alone = [judged([one], shape("T4")) for one in variants]
    lacks = [one.missing_bytes for one in alone if one.missing_bytes is not None]
    assert len(lacks) == 2
    found = judged(variants, shape("T4"))
    assert found.missing_bytes == min(lacks) < max(lacks)


def test_a_measured_factor_of_memory_leaves_less_room() -> None:
    one = variant(make_spec(precision="bf16"), "tinyllama", tokens=512)
    free, less = judged([one], shape()), judged([one], shape(), memory_factor=1.3)
    assert free.micro_batch is not None
    assert less.micro_batch is not None
    assert less.micro_batch < free.micro_batch
    assert judged([one], shape(), memory_factor=9.0).reason is not None


def test_a_batch_that_devices_cannot_share_is_refused() -> None:
    found = judged([variant(make_spec(batch_size=6), "minilm")], shape(count=4))
    assert found.reason == "batch cannot be shared: 6 samples over 4 devices"


def test_memory_of_a_choice_is_within_the_card() -> None:
    for model, count in product(("bert-large", "tinyllama"), (1.0, 4.0)):
        found = judged(both(make_spec(precision="bf16"), model, tokens=512), shape("L4", count))
        assert found.memory is not None
        assert found.memory.needed_bytes < 24 * GIB
        assert found.micro_batch is not None
        assert found.accumulation is not None
        share = 32 // int(count)
        assert found.micro_batch * (found.accumulation - 1) < share <= found.micro_batch * found.accumulation
