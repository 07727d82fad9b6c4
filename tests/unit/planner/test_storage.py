"""Disk, egress and address: sizes and bills against arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import templates
from manager.planner.assumptions import ANY_CLOUD, AssumedQuantity, Assumptions, shipped_assumptions
from manager.planner.plan import CostLine
from manager.planner.storage import (
    LEAST_RENTED_GIB,
    NOTHING_BESIDE,
    address_extra,
    billed_gib,
    disk_extra,
    disk_need,
    egress_extra,
    extra_rates,
    rented_gib,
    side_usd,
)
from manager.units import GIB, Interval, MoneyInterval
from tests.support.plan_factory import make_profile

HOURS = Interval(low=7.3, expected=14.6, high=29.2)


def _row(name: str, low: float, expected: float, high: float) -> AssumedQuantity:
    value = Interval(low=low, expected=expected, high=high)
    return AssumedQuantity(name=name, value=value, unit="", source="test")


ROWS = [
    _row("image_disk", 10, 20, 30),
    _row("environment_disk", 1, 2, 3),
    _row("disk_price", 0.08, 0.1, 0.2),
    _row("egress_price", 0.05, 0.09, 0.1),
    _row("address_price", 0.005, 0.005, 0.005),
]
TABLE = Assumptions({(row.name, ANY_CLOUD): row for row in ROWS})
PROFILE = replace(
    make_profile(),
    weights_bytes=4 * GIB,
    checkpoint_bytes=12 * GIB,
    export_file_bytes=5 * GIB,
    data=replace(make_profile().data, bytes=GIB),
)


def test_the_disk_holds_image_packages_weights_data_checkpoints_and_the_tuned_model() -> None:
    need = disk_need(PROFILE, TABLE, cloud="aws", keep_checkpoints=2, checkpoints=9)
    assert need.checkpoints_gib == Interval(low=36, expected=48, high=48)
    assert need.total_gib == Interval(low=10 + 1 + 36 + 10, expected=20 + 2 + 48 + 10, high=30 + 3 + 48 + 10)


@pytest.mark.parametrize(("written", "kept"), [(0, 0), (1, 12), (3, 36), (4, 48), (100, 48)])
def test_no_more_checkpoints_lie_there_than_were_written(written: int, kept: float) -> None:
    need = disk_need(PROFILE, TABLE, cloud="aws", keep_checkpoints=2, checkpoints=written)
    assert need.checkpoints_gib.high == kept


def test_the_rented_disk_is_a_tenth_larger_in_steps_and_has_a_least_size() -> None:
    need = disk_need(PROFILE, TABLE, cloud="aws", keep_checkpoints=2, checkpoints=9)
    assert rented_gib(need, cloud="aws") == LEAST_RENTED_GIB  # 91 x 1.1 = 100.1
    large = replace(need, weights_gib=140.0)
    assert rented_gib(large, cloud="aws") == 256  # 227 x 1.1 = 249.7
    assert rented_gib(replace(need, weights_gib=160.0), cloud="aws") == 288  # 247 x 1.1 = 271.7


@pytest.mark.parametrize("cloud", ["kubernetes", "ssh", "slurm"])
def test_a_node_with_a_disk_of_its_own_is_asked_for_no_more_than_is_needed(cloud: str) -> None:
    need = disk_need(PROFILE, TABLE, cloud=cloud, keep_checkpoints=2, checkpoints=9)
    assert rented_gib(need, cloud=cloud) == 101  # 91 x 1.1 = 100.1


def test_what_a_bill_has_besides_machines_by_the_hour_and_once() -> None:
    """Of 29.2 h at most on two machines: 2 x 100 GiB at 0.2 a month, two addresses at 0.005 and 5 GiB at 0.1."""
    zero = MoneyInterval(low=Decimal(0), expected=Decimal(0), high=Decimal(0))
    machine = CostLine(
        name="training", quantity=HOURS, unit="h", unit_price_usd=Decimal(9), total_usd=zero, assumption=None
    )
    waiting = replace(machine, name="waiting", quantity=HOURS.scaled(50))
    lines = (
        machine,
        waiting,
        disk_extra(TABLE, cloud="aws", gib=100, hours=HOURS, nodes=2).line(),
        address_extra(TABLE, cloud="aws", hours=HOURS, nodes=2).line(),
        egress_extra(TABLE, cloud="aws", sent_bytes=5 * GIB).line(),
    )
    beside = side_usd(lines)
    assert float(beside.usd_per_hour) == pytest.approx(200 * 0.2 / 730 + 0.01)
    assert beside.usd_once == Decimal("0.5")
    assert side_usd(()) == side_usd((machine, waiting)) == NOTHING_BESIDE


def test_the_least_disk_is_that_of_the_task_template() -> None:
    file = Path(templates.__file__).parent / "sky" / "task.yaml"
    assert YAML(typ="safe").load(file.read_text())["resources"]["disk_size"] == LEAST_RENTED_GIB


@pytest.mark.parametrize(
    ("cloud", "gib", "billed"), [("aws", 160, 160), ("azure", 160, 256), ("azure", 128, 128), ("azure", 40_000, 40_000)]
)
def test_azure_bills_the_next_larger_disk(cloud: str, gib: int, billed: int) -> None:
    assert billed_gib(cloud, gib) == billed


def test_a_disk_is_billed_by_the_gib_month() -> None:
    line = disk_extra(TABLE, cloud="aws", gib=100, hours=HOURS, nodes=2).line()
    assert (line.name, line.unit, line.assumption) == ("disk", "GiB-month", "disk_price")
    assert line.quantity == Interval(low=2, expected=4, high=8)
    assert line.unit_price_usd == Decimal("0.1")
    total = line.total_usd
    assert (total.low, total.expected, total.high) == (Decimal("0.16"), Decimal("0.4"), Decimal("1.6"))


def test_results_are_billed_on_their_way_home_without_a_free_allowance() -> None:
    line = egress_extra(TABLE, cloud="aws", sent_bytes=5 * GIB).line()
    assert (line.name, line.unit, line.assumption) == ("egress", "GiB", "egress_price")
    assert (line.quantity.expected, line.total_usd.expected) == (5, Decimal("0.45"))


def test_each_node_has_an_address() -> None:
    line = address_extra(TABLE, cloud="aws", hours=HOURS, nodes=4).line()
    assert (line.name, line.unit, line.assumption) == ("address", "h", "address_price")
    assert (line.quantity.expected, line.total_usd.expected) == (58.4, Decimal("0.292"))


def test_rates_for_ranking_give_the_same_dollars_as_the_bill() -> None:
    rates = extra_rates(TABLE, cloud="aws", gib=160, sent_bytes=3 * GIB, nodes=2)
    extras = (
        disk_extra(TABLE, cloud="aws", gib=160, hours=HOURS, nodes=2),
        address_extra(TABLE, cloud="aws", hours=HOURS, nodes=2),
        egress_extra(TABLE, cloud="aws", sent_bytes=3 * GIB),
    )
    for end in ("low", "expected", "high"):
        ranked = getattr(rates.usd_per_hour, end) * getattr(HOURS, end) + getattr(rates.usd_once, end)
        billed = sum((getattr(extra.total_usd, end) for extra in extras), Decimal(0))
        assert ranked == pytest.approx(float(billed), abs=3e-6)


@pytest.mark.parametrize("cloud", ["local", "slurm"])
def test_own_machines_have_their_disk_and_network_in_their_price(cloud: str) -> None:
    table = shipped_assumptions()
    rates = extra_rates(table, cloud=cloud, gib=500, sent_bytes=100 * GIB)
    assert (rates.usd_per_hour.high, rates.usd_once.high) == (0, 0)


def test_a_shipped_disk_costs_cents_an_hour() -> None:
    """128 GiB of gp3 cost about 16 USD a month with what SkyPilot asks for on top."""
    table = shipped_assumptions()
    rates = extra_rates(table, cloud="aws", gib=128, sent_bytes=0)
    assert rates.usd_per_hour.expected == pytest.approx(16.64 / 730 + 0.005, rel=0.01)
