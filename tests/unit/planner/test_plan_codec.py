"""Reading plans back: exact money, older writers, newer schemas, broken files."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from manager.errors import SpecError
from manager.planner.codec import plan_from_json, plan_from_text, plan_to_json, plan_to_text
from manager.planner.decode import decoded
from manager.planner.plan import ESTIMATOR, OLD_ESTIMATOR, Plan
from manager.prices.offer import Offer
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan


def _plan(price: str = "0.8048") -> Plan:
    spec = make_spec(max_usd="20")
    offers = [replace(make_gpu_offer(price=price), zones=("a", "b")), make_cpu_offer(price=None)]
    return make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=offers,
        created_at_s=1.5,
        notes=["note"],
    )


def test_dollars_are_numbers_and_come_back_as_the_same_decimals() -> None:
    record = json.loads(plan_to_text(_plan()))
    assert record["offers"][0]["price_usd_per_hour"] == 0.8048
    assert record["spec"]["budget"]["max_usd"] == 20.0
    assert plan_from_json(record) == _plan()


def test_a_reader_that_parses_decimals_gets_the_same_plan() -> None:
    assert plan_from_json(json.loads(plan_to_text(_plan()), parse_float=Decimal)) == _plan()


def test_a_price_with_more_digits_than_a_float_holds_is_text() -> None:
    plan = _plan("0.12345678901234567890123")
    assert plan_to_json(plan)["offers"][0]["price_usd_per_hour"] == "0.12345678901234567890123"
    assert plan_from_text(plan_to_text(plan)) == plan


def test_a_newer_schema_is_refused_with_a_hint() -> None:
    with pytest.raises(SpecError, match="schema 2, newer than 1") as caught:
        plan_from_json({**plan_to_json(_plan()), "schema": 2})
    assert caught.value.hint is not None


def test_fields_of_a_later_writer_are_skipped_and_missing_ones_take_their_default() -> None:
    record = plan_to_json(_plan())
    record["profile"]["a_new_figure"] = 1
    del record["profile"]["model_from_hub"]
    assert plan_from_json(record) == _plan()


@pytest.mark.parametrize(
    "broken",
    [
        {},
        [],
        {"schema": "1"},
        {"schema": 1},
        {**plan_to_json(_plan()), "spec": None},
        {**plan_to_json(_plan()), "offers": [{}]},
        {**plan_to_json(_plan()), "created_at_s": "yesterday"},
    ],
)
def test_what_is_no_plan_is_a_spec_error(broken: Any) -> None:
    with pytest.raises(SpecError):
        plan_from_json(broken)


def test_text_that_is_no_json_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="no JSON"):
        plan_from_text("{")


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_spot", "yes"), ("num_nodes", 1.5), ("num_nodes", True), ("price_usd_per_hour", "NaN"), ("cloud", None)],
)
def test_values_of_another_type_are_refused(key: str, value: object) -> None:
    record = {**plan_to_json(_plan())["offers"][0], key: value}
    with pytest.raises((TypeError, ValueError)):
        decoded(Offer, record)


def test_estimates_from_before_they_named_their_estimator_are_of_the_formulas() -> None:
    record = plan_to_json(_plan())
    assert {entry["estimator"] for entry in record["offers"]} == {ESTIMATOR}
    for entry in (*record["offers"], *record["rejected"]):
        del entry["estimator"]
    assert {estimate.estimator for estimate in plan_from_json(record).offers} == {OLD_ESTIMATOR}


def test_the_hosts_need_is_read_back_also_where_it_had_no_range() -> None:
    record = plan_to_json(_plan())
    offer = next(offer for offer in record["offers"] if offer["accelerator"])
    assert offer["host_bytes"]["low"] < offer["host_bytes"]["expected"] < offer["host_bytes"]["high"]
    assert offer["host_bytes"]["basis"]
    assert plan_to_json(plan_from_json(record)) == record
    offer["host_bytes"] = 5
    at = record["offers"].index(offer)
    found = plan_from_json(record).offers[at].host_bytes
    assert found is not None
    assert (found.low, found.expected, found.high) == (5, 5, 5)
