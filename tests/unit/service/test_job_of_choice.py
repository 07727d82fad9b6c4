"""What was chosen for a machine stands in its job, and other offers take over only where the same job runs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.build import plan_of
from manager.planner.plan import Estimate, Plan
from manager.prices.offer import Offer
from manager.service.running import build_job, with_fallbacks
from manager.spec.model import RunSpec, Where
from tasks.job import Job
from tests.support.market_factory import planner_of, variant_of
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_spec


def planned(offers: list[Offer], spec: RunSpec, model: str, *precisions: str, tokens: int = 200) -> Plan:
    """A plan of a job that leaves precision, checkpointing and sharding open."""
    made = [
        replace(spec, training=replace(spec.training, precision=precision, gradient_checkpointing=is_on))
        for is_on in (False, True)
        for precision in precisions
    ]
    asked = replace(spec, training=replace(spec.training, precision="auto", gradient_checkpointing=None))
    planner = planner_of(offers, *(variant_of(one, model, tokens=tokens) for one in made))
    return plan_of(planner, asked, created_at_s=0.0, notes=())


def job(plan: Plan) -> Job:
    """Of its choice."""
    assert plan.choice is not None
    return build_job(plan, with_fallbacks(plan, plan.choice), run_id="r", cap_usd=Decimal("2.5"), max_duration_s=60.0)


def test_the_choice_of_a_machine_is_in_its_job() -> None:
    plan = planned([make_gpu_offer("T4")], make_spec(), "minilm", "bf16-mixed", "fp16-mixed")
    training = job(plan).training
    assert (training.precision, training.gradient_checkpointing) == ("fp16-mixed", False)
    assert (training.micro_batch, training.sharding, training.checkpoint_every_steps) == (32, "auto", None)
    assert job(plan).guard.max_usd == 2.5


def test_checkpointing_and_shards_are_in_the_job() -> None:
    spec = make_spec(batch_size=8)
    plan = planned([make_gpu_offer("L4", count=8)], spec, "tinyllama", "bf16-mixed", tokens=2048)
    assert plan.choice is not None
    assert plan.choice.sharding == "fsdp"
    training = job(plan).training
    assert (training.sharding, training.precision, training.micro_batch) == ("fsdp", "bf16-mixed", 1)
    assert training.gradient_checkpointing is plan.choice.gradient_checkpointing


@pytest.mark.parametrize("asked", [None, 9])
def test_a_spot_run_writes_checkpoints_as_often_as_planned(asked: int | None) -> None:
    spec = make_spec(where=Where(spot=True))
    spec = replace(spec, training=replace(spec.training, checkpoint_every_steps=asked))
    plan = planned([make_gpu_offer(spot=True)], spec, "minilm", "fp32")
    choice = plan.choice
    assert choice is not None
    assert choice.checkpoint_every_steps is not None
    if asked is None:
        assert job(plan).training.checkpoint_every_steps == choice.checkpoint_every_steps
    else:
        assert job(plan).training.checkpoint_every_steps == asked


def test_fall_backs_write_checkpoints_as_often_as_any_of_them_was_planned_to() -> None:
    spec = make_spec(where=Where(spot=True))
    plan = planned([make_gpu_offer(price="0.3", spot=True)], spec, "minilm", "fp32")
    choice = plan.choice
    assert choice is not None
    every = choice.checkpoint_every_steps
    assert every is not None
    rest = [replace(choice, checkpoint_every_steps=other) for other in (every - 1, every + 5, None)]
    made = build_job(plan, [choice, *rest], run_id="r", cap_usd=None, max_duration_s=60.0)
    assert made.training.checkpoint_every_steps == every - 1
    made = build_job(plan, rest[2:], run_id="r", cap_usd=None, max_duration_s=60.0)
    assert made.training.checkpoint_every_steps is None


class TestFallBacks:
    """Offers that take over where the chosen one has no capacity."""

    def keys(self, plan: Plan) -> list[tuple[str | None, str | None]]:
        """Accelerator and region of the choice and the rest."""
        assert plan.choice is not None
        return [(one.offer.accelerator, one.offer.region) for one in with_fallbacks(plan, plan.choice)]

    def test_they_train_in_the_same_precision(self) -> None:
        offers = [
            make_gpu_offer("T4", price="0.1"),
            make_gpu_offer("T4", price="0.2", region="b"),
            make_gpu_offer("L4", price="0.3"),
            make_gpu_offer("T4", price="0.4", region="c"),
        ]
        plan = planned(offers, make_spec(), "minilm", "bf16-mixed", "fp16-mixed")
        assert [one.precision for one in plan.offers] == ["fp16-mixed", "fp16-mixed", "bf16-mixed", "fp16-mixed"]
        assert self.keys(plan) == [("T4", "us-east-1"), ("T4", "b"), ("T4", "c")]

    def test_behind_spot_there_are_machines_on_demand(self) -> None:
        regions = ("a", "b", "c", "d", "e")
        offers = [make_gpu_offer(price="0.1", region=region, spot=True) for region in regions]
        offers += [make_gpu_offer(price="2", region=region) for region in regions]
        plan = planned(offers, make_spec(where=Where(spot=True)), "minilm", "fp32")
        assert plan.choice is not None
        found = [one.offer for one in with_fallbacks(plan, plan.choice)]
        assert [one.use_spot for one in found] == [True, True, True, False, False]
        assert len({one.key for one in found}) == 5

    def test_a_launch_that_was_refused_is_not_made_again(self) -> None:
        prices = {
            "aws": {"use1-az1": "0.100", "use1-az2": "0.101", "use1-az3": "0.2"},
            "gcp": {"use1-az1": "2.00", "use1-az2": "2.02", "use1-az3": "4"},
        }
        zones = [
            replace(make_gpu_offer(price=price, cloud=cloud, spot=True), zones=(zone,))
            for cloud, of_zones in prices.items()
            for zone, price in of_zones.items()
        ]
        plan = planned(zones, make_spec(where=Where(spot=True)), "minilm", "fp32")
        assert plan.choice is not None
        found = [(one.offer.cloud, one.offer.zones[0]) for one in with_fallbacks(plan, plan.choice)]
        # AWS's zones cannot be named: the first launch asks for all of them, but not for one that costs twice as much.
        assert found == [
            ("aws", "use1-az1"),
            ("aws", "use1-az3"),
            ("gcp", "use1-az1"),
            ("gcp", "use1-az2"),
            ("gcp", "use1-az3"),
        ]

    def test_they_have_as_many_machines_and_the_same_micro_batch(self) -> None:
        spec = make_spec(where=Where(max_nodes=2))
        offers = [make_gpu_offer("L4", price="0.1"), make_gpu_offer("A100", price="2"), make_cpu_offer(price="5")]
        plan = planned(offers, spec, "minilm", "fp32")
        assert {one.offer.num_nodes for one in plan.offers} == {1, 2}
        assert plan.choice is not None
        rest = with_fallbacks(plan, plan.choice)
        assert {one.offer.num_nodes for one in rest} == {plan.choice.offer.num_nodes}
        assert [one.offer.cloud for one in rest].count("local") == 0
        assert all(one.micro_batch == plan.choice.micro_batch for one in rest)

    def test_shards_stay_shards(self) -> None:
        small = make_gpu_offer("L4", count=8, price="1")
        offers = [small, replace(small, region="b"), make_gpu_offer("A100-80GB", count=8, price="30")]
        plan = planned(offers, make_spec(batch_size=8), "tinyllama", "bf16-mixed")
        assert [one.sharding for one in plan.offers] == ["fsdp", "fsdp", "ddp"]
        assert self.keys(plan) == [("L4", "b"), ("L4", "us-east-1")]

    def test_they_make_no_more_passes_than_their_estimate_has(self) -> None:
        spec = make_spec(method="lora", batch_size=64)
        offers = [make_gpu_offer("T4", price="0.1"), make_gpu_offer("A100-80GB", price="9")]
        offers.append(make_gpu_offer("T4", price="10", region="b"))
        plan = planned(offers, spec, "tinyllama", "fp32", tokens=512)
        shown = [(one.offer.accelerator, one.micro_batch, one.accumulation) for one in plan.offers]
        # With micro-batches of 32 the larger card would make two passes, and was estimated with one.
        assert shown == [("T4", 32, 2), ("A100-80GB", 64, 1), ("T4", 32, 2)]
        assert self.keys(plan) == [("T4", "us-east-1"), ("T4", "b")]

    def test_this_machine_has_none(self) -> None:
        plan = planned([make_cpu_offer(), make_gpu_offer(price="9")], make_spec(), "minilm", "fp32")
        choice: Estimate | None = plan.choice
        assert choice is not None
        assert with_fallbacks(plan, choice) == (choice,)
