"""What leaves a cloud by way of buckets: sizes and dollars against arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.planner.assumptions import shipped_assumptions
from manager.planner.build import Planner, plan_of
from manager.planner.market_index import MarketIndex
from manager.planner.plan import Plan
from manager.planner.storage import side_usd
from manager.planner.traffic import NOWHERE, Places, cloud_of_bucket, traffic_extras
from manager.planner.variant import StepVariant
from manager.prices.market import Market
from manager.service.data_places import places_of, traffic_notes
from manager.service.settings import set_setting
from manager.spec.model import Storage
from manager.units import GIB
from tests.support.contexts import make_context
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec, make_traces

TABLE = shipped_assumptions()
PROFILE = replace(
    make_profile(),
    checkpoints=3,
    checkpoint_bytes=12 * GIB,
    export_file_bytes=4 * GIB,
    data=replace(make_profile().data, bytes=100 * GIB),
)
ON_AWS, ON_GCP = make_gpu_offer("T4", price="0.4", cloud="aws"), make_gpu_offer("T4", price="0.4", cloud="gcp")


def test_data_in_s3_read_on_gcp_cost_what_aws_bills_for_them() -> None:
    (extra,) = traffic_extras(TABLE, Places(data="aws"), PROFILE, cloud="gcp", nodes=2)
    line = extra.line()
    assert (line.name, line.unit, line.quantity.expected, line.assumption) == (
        "data_egress",
        "GiB",
        200,
        "egress_price",
    )
    assert line.total_usd.expected == Decimal("18")  # 200 GiB at 0.09


def test_in_the_buckets_own_cloud_the_region_decides_which_is_not_known() -> None:
    (extra,) = traffic_extras(TABLE, Places(data="aws"), PROFILE, cloud="aws")
    total = extra.total_usd
    assert (total.low, total.expected, total.high) == (Decimal(0), Decimal(2), Decimal("14.7"))


def test_checkpoints_and_model_that_leave_for_the_bucket_of_another_cloud() -> None:
    (extra,) = traffic_extras(TABLE, Places(bucket="aws"), PROFILE, cloud="gcp")
    assert (extra.name, extra.quantity.expected) == ("bucket_egress", 40)
    assert extra.total_usd.expected == Decimal("4.8")  # 40 GiB at 0.12


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (NOWHERE, []),
        (Places(data="aws", data_is_here=True, bucket="aws"), []),
        (Places(data="aws", bucket="aws"), ["data_egress"]),
    ],
)
def test_on_this_machine(places: Places, names: list[str]) -> None:
    assert [extra.name for extra in traffic_extras(TABLE, places, PROFILE, cloud="local")] == names


@pytest.mark.parametrize(
    ("uri", "cloud"), [("s3://b/x", "aws"), ("gs://b", "gcp"), ("file:///x", None), ("org/data", None), (None, None)]
)
def test_whose_a_bucket_is(uri: str | None, cloud: str | None) -> None:
    assert cloud_of_bucket(uri) == cloud


def planned(places: Places) -> Plan:
    spec = make_spec()
    profile = replace(make_profile(spec=spec), data=replace(make_profile(spec=spec).data, bytes=4 * GIB))
    planner = Planner(
        MarketIndex.of(Market.of_offers([ON_AWS, ON_GCP]), TABLE),
        [StepVariant(profile=profile, traces=make_traces(spec=spec))],
        assumptions=TABLE,
        places=places,
    )
    return plan_of(planner, spec, created_at_s=1.0, notes=[])


@pytest.mark.parametrize(("home", "chosen"), [("aws", "aws"), ("gcp", "gcp")])
def test_machines_near_the_data_are_cheaper(home: str, chosen: str) -> None:
    plan = planned(Places(data=home))
    assert plan.choice is not None
    assert plan.choice.offer.cloud == chosen
    for estimate in plan.offers:
        # What is ranked by is the bill that is shown, and the lines add up to it.
        assert estimate.cost_usd is not None
        assert sum(line.total_usd.expected for line in estimate.lines) == estimate.cost_usd.expected
        assert side_usd(estimate.lines).usd_once > Decimal("0.3")
        prices = {line.name: line.assumption for line in estimate.lines}
        assert prices["data_egress"] in {assumption.name for assumption in estimate.assumptions}


def test_without_a_bucket_the_bill_is_as_ever() -> None:
    for estimate in planned(NOWHERE).offers:
        assert not {"data_egress", "bucket_egress"} & {line.name for line in estimate.lines}


def test_places_of_a_run_file(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    (tmp_path / "here.csv").write_text("text,label\n")
    spec = make_spec()
    here = replace(spec, data=replace(spec.data, source=str(tmp_path / "here.csv")))
    in_s3 = replace(spec, data=replace(spec.data, source="s3://theirs/set"))
    stored = Storage(bucket="gs://runs/x")
    assert places_of(context, here) == Places(data_is_here=True)
    assert places_of(context, replace(here, storage=stored)) == Places(data="gcp", data_is_here=True, bucket="gcp")
    assert places_of(context, replace(in_s3, storage=stored)) == Places(data="aws", bucket="gcp")
    set_setting(context, "bucket", "s3://mine-1/y")
    again = make_context(tmp_path)
    assert places_of(again, here) == Places(data="aws", data_is_here=True, bucket="aws")
    (note,) = traffic_notes(again, here, data_bytes=2 * GIB)
    assert note.startswith("2.00 GiB of data go to s3://mine-1/y once")
    (note,) = traffic_notes(again, in_s3, data_bytes=GIB)
    assert "s3://theirs/set" in note
    hub = replace(spec, data=replace(spec.data, source="org/data"))
    assert traffic_notes(again, hub, data_bytes=GIB) == ()
