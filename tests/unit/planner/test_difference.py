"""Two plans side by side."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.planner.difference import difference, percent
from manager.planner.difference_limits import Limits, exceeded
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.spec.model import RunSpec, Where
from tests.support.diff_stage import fixed_plan
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

L4 = "aws/us-east-1/1xL4/L4:1/on-demand"


def plan(spec: RunSpec | None = None, offers: list[Offer] | None = None) -> Plan:
    spec = spec or make_spec()
    return make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=[make_gpu_offer(), make_gpu_offer("A100", price="4.10")] if offers is None else offers,
        created_at_s=1_790_000_000.0,
        notes=[],
    )


def test_nothing_has_changed_in_the_same_plan() -> None:
    found = difference(plan(), plan())
    assert found.is_empty
    assert found.is_same_machine
    assert found.total.change_usd == 0
    assert exceeded(found, Limits(usd=Decimal(0), percent=Decimal(0), hours=0)) == ()


def test_fields_are_called_as_in_the_run_file() -> None:
    old = make_spec()
    new = replace(
        make_spec(method="lora", rank=8, epochs=4.0, micro_batch=8, max_usd="5"), where=Where(regions=("eu-1", "eu-2"))
    )
    changes = {change.name: (change.old, change.new) for change in difference(plan(old), plan(new)).question}
    assert changes == {
        "method.kind": ("full", "lora"),
        "method.rank": ("16", "8"),
        "training.epochs": ("3", "4"),
        "training.micro_batch": ("auto", "8"),
        "budget.max_usd": (None, "5"),
        "where.regions": ("all", "eu-1, eu-2"),
    }


def test_facts_of_the_workload_follow() -> None:
    found = difference(plan(), plan(make_spec(epochs=6.0)))
    assert [(change.name, change.old, change.new) for change in found.workload] == [("optimizer steps", "168", "336")]


@settings(max_examples=25, deadline=None)
@given(
    epochs=st.sampled_from([0.5, 3.0, 7.0]),
    batch=st.sampled_from([1, 32, 64]),
    price=st.decimals("0.000001", "900", places=6),
    spot=st.booleans(),
)
def test_lines_add_up_to_the_change_of_the_total(epochs: float, batch: int, price: Decimal, spot: bool) -> None:
    new = plan(
        replace(make_spec(epochs=epochs, batch_size=batch), where=Where(spot=spot)),
        [make_gpu_offer(price=str(price), spot=spot)],
    )
    found = difference(plan(), new)
    assert sum(line.change_usd or Decimal(0) for line in found.dollars) == found.total.change_usd
    assert new.choice is not None
    assert new.choice.cost_usd is not None
    assert found.total.new_usd == new.choice.cost_usd.expected


def test_a_line_that_a_bill_does_not_have_costs_nothing_there() -> None:
    spot = replace(make_spec(), where=Where(spot=True))
    found = difference(plan(), plan(spot, [make_gpu_offer(price="0.1", spot=True)]))
    rework = next(line for line in found.dollars if line.name == "spot_rework")
    assert rework.old_usd == 0
    assert rework.new_usd is not None
    assert rework.new_usd > 0


def test_memory_is_compared_on_the_machine_that_both_know() -> None:
    old = plan(offers=[make_gpu_offer(price="0.8"), make_gpu_offer("A100", price="90")])
    new = plan(offers=[make_gpu_offer(price="80"), make_gpu_offer("A100", price="0.1")])
    found = difference(old, new)
    assert found.memory.machine == "aws/us-east-1/1xA100/A100:1/on-demand"
    assert found.memory.total.change_bytes == 0
    assert not found.is_same_machine
    assert found.old_machine_now is not None
    assert found.old_machine_now.offer.key == L4


def test_memory_lines_add_up() -> None:
    found = difference(plan(), plan(make_spec(batch_size=64)))
    assert sum(line.new_bytes or 0 for line in found.memory.lines) == found.memory.total.new_bytes
    assert sum(line.change_bytes or 0 for line in found.memory.lines) == found.memory.total.change_bytes != 0


def test_without_a_common_machine_each_is_on_its_own() -> None:
    found = difference(plan(offers=[make_gpu_offer()]), plan(offers=[make_gpu_offer("A100", price="4.1")]))
    assert found.memory.machine is None
    assert found.memory.total.change_bytes is not None
    assert found.old_machine_now is None


def test_a_plan_without_a_choice_says_why_and_stays_unknown() -> None:
    found = difference(plan(), plan(make_spec(max_usd="0.0001")))
    assert found.new.cost_usd is None
    assert found.total.new_usd is None
    assert found.total.change_usd is None
    assert found.change_hours is None
    assert {line.new_usd for line in found.dollars} == {None}
    assert "more than the cap of $0.00010" in (found.new.no_choice or "")
    assert found.old_machine_now is not None
    assert (found.old_machine_now.reason or "").startswith("over budget")
    assert not found.is_empty


def test_a_first_plan_is_additional_as_a_whole() -> None:
    found = difference(None, plan())
    assert found.total.old_usd == 0
    assert found.total.change_usd == found.total.new_usd
    assert found.memory.total.change_bytes == found.memory.total.new_bytes
    assert found.question == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(2.0, 3.0, 50.0), (0, 3.0, None), (None, 3.0, None), (2.0, None, None), (4, 3, -25.0)]
)
def test_percent_of_nothing_is_unknown(old: float | None, new: float | None, expected: float | None) -> None:
    assert percent(old, new) == expected


class TestLimits:
    """Of `exceeded`."""

    def test_a_rise_of_exactly_the_limit_is_within_it(self) -> None:
        found = difference(fixed_plan(dollars="1", hours=1), fixed_plan(dollars="1.1", hours=1))
        assert exceeded(found, Limits(percent=Decimal(10))) == ()
        assert exceeded(found, Limits(usd=found.total.change_usd)) == ()
        assert exceeded(found, Limits(percent=Decimal("9.99")))[0].endswith("the limit is 9.99 %")

    def test_each_limit_has_its_sentence(self) -> None:
        found = difference(plan(), plan(make_spec(epochs=9000.0)))
        over = exceeded(found, Limits(usd=Decimal("0.01"), percent=Decimal(1), hours=0.01))
        assert [sentence.split(" rise")[0] for sentence in over] == ["expected dollars"] * 2 + ["expected hours"]

    def test_cheaper_and_faster_is_within_any(self) -> None:
        found = difference(plan(make_spec(epochs=9.0)), plan())
        assert exceeded(found, Limits(usd=Decimal(0), percent=Decimal(0), hours=0)) == ()

    def test_an_unknown_cost_keeps_no_limit(self) -> None:
        found = difference(plan(), plan(make_spec(max_usd="0.0001")))
        assert exceeded(found, Limits()) == ()
        assert len(exceeded(found, Limits(hours=1e6))) == 1

    def test_an_unknown_cost_before_bounds_the_rise_by_the_whole(self) -> None:
        found = difference(plan(make_spec(max_usd="0.0001")), plan())
        assert exceeded(found, Limits(usd=Decimal(5), hours=1)) == ()
        assert len(exceeded(found, Limits(usd=Decimal("0.01")))) == 1
        assert "were unknown before" in exceeded(found, Limits(percent=Decimal(1000)))[0]

    def test_a_first_plan_has_no_percentage(self) -> None:
        found = difference(None, plan())
        assert exceeded(found, Limits(percent=Decimal(1))) == ()
        assert len(exceeded(found, Limits(usd=Decimal("0.01")))) == 1
