"""The choice among offers: order, filters, caps, and what is said when nothing is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from manager.errors import NothingFitsError, OverBudgetError
from manager.planner.build import explain_no_choice, plan_of
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.spec.model import RunSpec, Where
from tests.support.market_factory import planner_of, variant_of
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

_OFFERS = (
    make_gpu_offer("L4", price="0.80"),
    make_gpu_offer("A100", price="3.67", cloud="gcp", region="us-central1"),
    make_gpu_offer("L4", price="0.30", spot=True),
    make_gpu_offer("H100", price=None, cloud="runpod"),
)


def _plan(spec: RunSpec | None = None, offers: Sequence[Offer] = _OFFERS, model: str = "minilm") -> Plan:
    asked = spec or make_spec()
    return make_plan(
        spec=asked,
        profile=make_profile(model, asked),
        traces=make_traces(model, asked),
        offers=offers,
        created_at_s=1.0,
        notes=["n"],
    )


def test_the_cheapest_to_a_finished_job_is_chosen() -> None:
    plan = _plan()
    costs = [estimate.cost_usd.expected for estimate in plan.offers if estimate.cost_usd]
    assert costs == sorted(costs)
    assert plan.chosen == 0
    assert plan.choice is not None
    assert plan.choice.offer.accelerator == "L4"


def test_every_offer_comes_back_once_chosen_or_with_a_reason() -> None:
    plan = _plan()
    assert len(plan.offers) + len(plan.rejected) == len(_OFFERS)
    assert (plan.offers_total, plan.rejected_total) == (len(plan.offers), len(plan.rejected))
    assert all(estimate.reason is None for estimate in plan.offers)
    assert all(estimate.reason for estimate in plan.rejected)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (Where(clouds=("gcp",), spot=True), "cloud not allowed: aws"),
        (Where(regions=("US-Central1",), spot=True), "region not allowed: us-east-1"),
        (Where(accelerators=("a100",), spot=True), "accelerator not allowed: L4 x 1"),
        (Where(), "spot not allowed: where.spot is false"),
    ],
)
def test_where_rules_offers_out(where: Where, reason: str) -> None:
    plan = _plan(make_spec(where=where))
    assert reason in [estimate.reason for estimate in plan.rejected]
    assert plan.chosen == 0


def test_order_of_offers_does_not_matter() -> None:
    assert _plan(offers=_OFFERS) == _plan(offers=_OFFERS[::-1])


def test_equal_offers_are_ordered_by_their_identity_and_on_demand_first() -> None:
    one, other = make_gpu_offer(region="a", price="1"), make_gpu_offer(region="b", price="1")
    spot = replace(one, use_spot=True)
    plan = _plan(make_spec(where=Where(spot=True)), offers=(spot, other, one))
    assert [estimate.offer for estimate in plan.offers] == [one, other, spot]


def test_a_plan_keeps_the_nearest_and_counts_all() -> None:
    offers = [make_gpu_offer(price=f"{number / 10}", region=f"r{number:03d}") for number in range(1, 400)]
    dear = [make_gpu_offer("A100", price="90", region=f"r{number}", cloud="gcp") for number in range(150)]
    fractions = [replace(make_gpu_offer("A100", price=f"{1000 + n}"), instance_type=f"m{n}") for n in range(120)]
    plan = _plan(make_spec(max_usd="5"), offers=[*dear, *fractions, *offers])
    assert len(plan.offers) == 200
    assert plan.offers_total is not None
    assert 200 < plan.offers_total < 400
    prices = [estimate.offer.price_usd_per_hour for estimate in plan.offers]
    assert prices == sorted(offer.price_usd_per_hour for offer in offers if offer.price_usd_per_hour)[:200]
    assert len(plan.rejected) == 100
    assert plan.rejected_total == len(offers) + len(dear) + len(fractions) - plan.offers_total
    assert [(count.reason, count.offers) for count in plan.reasons] == [("over budget", plan.rejected_total)]
    assert plan.pareto[0] == plan.choice


def test_the_chosen_variant_is_the_profile_of_the_plan() -> None:
    variants = [variant_of(make_spec(precision=name)) for name in ("bf16-mixed", "fp16-mixed")]
    spec = make_spec(precision="auto")
    for card, precision in (("T4", "fp16-mixed"), ("L4", "bf16-mixed"), ("no-such-card", "bf16-mixed")):
        plan = plan_of(planner_of([make_gpu_offer(card)], *variants), spec, created_at_s=0.0, notes=())
        assert plan.profile.precision == precision
        assert plan.choice is None or plan.choice.precision == precision


def test_the_same_question_has_the_same_id_and_another_price_another() -> None:
    plan = _plan()
    later = make_plan(
        spec=plan.spec,
        profile=plan.profile,
        traces=make_traces(spec=plan.spec),
        offers=_OFFERS,
        created_at_s=99.0,
        notes=["another catalog age"],
    )
    assert later.plan_id == plan.plan_id
    assert _plan(offers=(make_gpu_offer("L4", price="0.81"), *_OFFERS[1:])).plan_id != plan.plan_id
    assert _plan(make_spec(epochs=2)).plan_id != plan.plan_id


def test_the_cap_is_compared_with_the_expected_cost() -> None:
    choice = _plan().choice
    assert choice is not None
    assert choice.cost_usd is not None
    between = (choice.cost_usd.expected + choice.cost_usd.high) / 2
    plan = _plan(make_spec(max_usd=str(between)))
    assert plan.chosen == 0
    assert any("more than the cap" in note for note in plan.notes)
    under = _plan(make_spec(max_usd=str(choice.cost_usd.expected / 2)))
    assert under.chosen is None
    assert under.rejected[0].reason is not None
    assert under.rejected[0].reason.startswith("over budget: ")


def test_no_choice_because_of_the_cap_names_the_cheapest() -> None:
    error = explain_no_choice(_plan(make_spec(max_usd="0.001")))
    assert isinstance(error, OverBudgetError)
    assert "aws/us-east-1/1xL4" in error.message
    assert "cap of $0.001" in error.message
    assert error.hint is not None
    assert "budget.max_usd" in error.hint


def test_no_choice_on_paper_because_of_the_cap_names_the_cheapest() -> None:
    tpu = make_gpu_offer("tpu-v5litepod-8", price="9.6")
    error = explain_no_choice(_plan(make_spec(max_usd="0.01", where=Where(on_paper=True)), offers=(tpu,)))
    assert isinstance(error, OverBudgetError)
    assert tpu.key in error.message


def test_no_choice_because_of_the_deadline_names_the_fastest() -> None:
    error = explain_no_choice(_plan(make_spec(deadline_hours=0.01)))
    assert isinstance(error, OverBudgetError)
    assert "past the deadline of 36 s" in error.message


def test_no_choice_because_nothing_fits_names_the_nearest_and_what_to_do() -> None:
    error = explain_no_choice(_plan(model="mistral", offers=(make_gpu_offer("T4"), make_gpu_offer("L4"))))
    assert isinstance(error, NothingFitsError)
    assert "1xL4" in error.message
    assert error.hint is not None
    assert "lora" in error.hint


def test_no_choice_because_of_wishes_or_prices_or_at_all() -> None:
    wishes = explain_no_choice(_plan(make_spec(where=Where(clouds=("mars",)))))
    assert isinstance(wishes, NothingFitsError)
    assert wishes.hint is not None
    assert "where" in wishes.hint
    prices = explain_no_choice(_plan(offers=(make_cpu_offer(price=None),)))
    assert prices.hint is not None
    assert "price" in prices.hint
    assert isinstance(explain_no_choice(_plan(offers=())), NothingFitsError)


def test_rejected_offers_stand_nearest_first() -> None:
    offers = (make_gpu_offer("tpu-v5litepod-8"), make_gpu_offer(price=None), make_gpu_offer("L4"), make_gpu_offer("T4"))
    plan = _plan(model="mistral", offers=offers)
    kinds = [(estimate.reason or "").split(":")[0] for estimate in plan.rejected]
    # Both prices of the L4 are one entry, the cheaper; counts hold them all.
    assert kinds == ["does not fit", "does not fit", "training program does not run there yet"]
    assert plan.rejected[0].offer == offers[2]
    assert {count.reason: count.offers for count in plan.reasons} == {kinds[0]: 3, kinds[2]: 1}
    assert plan.rejected_total == len(offers)


def test_planning_loads_no_heavy_library() -> None:
    heavy = "{'numpy', 'pandas', 'pydantic', 'torch', 'sky', 'rich', 'psutil'}"
    modules = "sys, manager.planner.build, manager.planner.codec, manager.workload.build, manager.profiling.measure"
    code = f"import {modules}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_cloud_machine_without_accelerator_is_nearest_by_the_memory_of_its_host() -> None:
    small = replace(make_cpu_offer(memory_bytes=None), cloud="aws", region="a", host_memory_bytes=4 * 2**30)
    large = replace(small, region="b", host_memory_bytes=60 * 2**30)
    plan = _plan(model="mistral", offers=(make_gpu_offer("T4"), small, large))
    assert all((estimate.reason or "").startswith("does not fit") for estimate in plan.rejected)
    assert [estimate.offer.key.split("/")[1] for estimate in plan.rejected][-1] == "a"
    assert plan.rejected[0].offer.region == "b"


def test_on_demand_is_not_judged_as_spot() -> None:
    one = make_gpu_offer(price="1")
    plan = _plan(make_spec(where=Where(spot=True)), offers=(replace(one, use_spot=True), one))
    costs = [estimate.cost_usd.expected for estimate in plan.offers if estimate.cost_usd]
    assert costs[0] < costs[1]
    assert plan.offers[1].offer.use_spot


def test_eight_cards_on_nvlink_are_faster_than_eight_on_a_bus() -> None:
    bus = replace(make_gpu_offer("A100-80GB", count=8), instance_type="a100-on-pcie")
    linked = replace(bus, instance_type="p4de.24xlarge")
    hours = {estimate.offer.instance_type: estimate.training_hours for estimate in _plan(offers=[bus, linked]).offers}
    slow, fast = hours["a100-on-pcie"], hours["p4de.24xlarge"]
    assert slow is not None
    assert fast is not None
    assert fast.expected < slow.expected
