"""What must hold for every workload and every price: cost rises with what causes it, bills add up, caps are kept."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from manager.planner.codec import plan_from_json, plan_from_text, plan_to_json, plan_to_text
from manager.planner.plan import Plan
from manager.spec.model import Where
from tests.support.plan_factory import (
    make_cpu_offer,
    make_data,
    make_gpu_offer,
    make_profile,
    make_spec,
    make_traces,
)
from tests.support.planning import make_plan

MODELS = st.sampled_from(["minilm", "bert-base", "bert-large", "tinyllama", "llama2-7b"])
METHODS = st.sampled_from(["full", "lora", "frozen"])
PRECISIONS = st.sampled_from(["fp32", "bf16-mixed", "bf16"])
CARDS = st.sampled_from(["T4", "L4", "A10G", "A100", "A100-80GB", "H100", "V100", "tpu-v5litepod-8", "no-such-card"])
PRICES = st.none() | st.decimals("0.001", "200", places=4)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans over random offers, caps and deadlines."""
    spec = make_spec(
        method=draw(METHODS),
        precision=draw(PRECISIONS),
        batch_size=draw(st.sampled_from([1, 8, 30, 32])),
        max_usd=draw(st.none() | st.decimals("0.01", "50", places=2).map(str)),
        deadline_hours=draw(st.none() | st.floats(0.05, 100)),
        where=Where(spot=draw(st.booleans()), clouds=draw(st.sampled_from([(), ("aws",), ("local", "gcp")]))),
    )
    cards = draw(st.lists(st.tuples(CARDS, PRICES, st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.booleans()), max_size=8))
    offers = [
        make_gpu_offer(
            card,
            price=None if price is None else str(price),
            count=count,
            spot=spot,
            cloud=["aws", "gcp"][number % 2],
            region=f"region-{number}",
        )
        for number, (card, price, count, spot) in enumerate(cards)
    ]
    model = draw(MODELS)
    data = make_data(samples=draw(st.integers(10, 100_000)), tokens=draw(st.integers(1, 512)))
    return make_plan(
        spec=spec,
        profile=make_profile(model, spec, data),
        traces=make_traces(model, spec),
        offers=[*offers, make_cpu_offer()],
        created_at_s=draw(st.floats(0, 2e9)),
        notes=draw(st.lists(st.text(max_size=20), max_size=2)),
    )


@given(plan=plans())
def test_a_plan_reads_back_as_it_was_written(plan: Plan) -> None:
    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_from_text(plan_to_text(plan)) == plan


@given(plan=plans())
def test_a_plan_keeps_its_cap_its_order_and_its_sums(plan: Plan) -> None:
    cap = plan.spec.budget.max_usd
    costs = [estimate.cost_usd.expected for estimate in plan.offers if estimate.cost_usd is not None]
    assert len(costs) == len(plan.offers)
    assert costs == sorted(costs)
    assert cap is None or all(cost <= cap for cost in costs)
    for estimate in (*plan.offers, *plan.rejected):
        if estimate.cost_usd is not None:
            assert sum((line.total_usd.expected for line in estimate.lines), Decimal(0)) == estimate.cost_usd.expected
            assert estimate.cost_usd.low <= estimate.cost_usd.expected <= estimate.cost_usd.high


@given(price=st.decimals("0.01", "100", places=4), more=st.decimals("0.01", "100", places=4), epochs=st.integers(1, 20))
def test_cost_rises_with_price_and_with_epochs(price: Decimal, more: Decimal, epochs: int) -> None:
    spec = make_spec(epochs=epochs)
    longer = replace(spec, training=replace(spec.training, epochs=epochs + 1.0))
    cheap, dear = make_gpu_offer(price=str(price)), make_gpu_offer(price=str(price + more), region="b")
    plan, after = (
        make_plan(
            spec=asked,
            profile=make_profile(spec=asked),
            traces=make_traces(spec=asked),
            offers=offers,
            created_at_s=0.0,
            notes=[],
        )
        for asked, offers in ((spec, [cheap, dear]), (longer, [cheap]))
    )
    assume(len(plan.offers) == 2)
    assert [estimate.offer for estimate in plan.offers] == [cheap, dear]
    first, second, third = plan.offers[0].cost_usd, plan.offers[1].cost_usd, after.offers[0].cost_usd
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.expected < second.expected
    assert first.expected < third.expected
