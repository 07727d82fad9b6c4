"""The table of what stays: every row has a source and a date, and what is not in it is unknown."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from importlib.resources import files

import pytest

from manager.prices.storage_prices import (
    address_usd_per_month,
    storage_prices_as_of,
    usd_per_month,
    volume_usd_per_month,
)

HUNDRED = Decimal(100)


def test_each_row_has_a_price_a_date_and_a_source() -> None:
    text = files("manager.prices").joinpath("data", "storage_prices.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len({(row["cloud"], row["region"], row["what"]) for row in rows}) == len(rows)
    for row in rows:
        assert Decimal(row["price"]) > 0
        assert date.fromisoformat(row["as_of"])
        assert row["source"]
        assert row["unit"] in {"USD/GiB-month", "USD/IOPS-month", "USD/MiBps-month", "USD/h"}
    assert storage_prices_as_of() == min(row["as_of"] for row in rows)


@pytest.mark.parametrize(
    ("iops", "mibps", "usd"),
    [(None, None, "8.00"), (3000, 125, "8.00"), (3500, 218, "14.220"), (100, 1, "8.00")],
)
def test_a_volume_costs_its_size_and_what_is_provisioned_beyond_the_types_own(
    iops: int | None, mibps: int | None, usd: str
) -> None:
    assert volume_usd_per_month("us-east-1", "gp3", gib=HUNDRED, iops=iops, mibps=mibps) == Decimal(usd)


def test_what_is_not_in_the_table_is_unknown() -> None:
    assert volume_usd_per_month("us-east-1", "io2", gib=HUNDRED, iops=3000, mibps=None) is None
    assert volume_usd_per_month("mars-1", "gp3", gib=HUNDRED, iops=None, mibps=None) is None
    # The size has a price there, the extra speed has none: the whole is unknown, not the part of it.
    assert volume_usd_per_month("ap-south-1", "gp3", gib=HUNDRED, iops=None, mibps=None) == Decimal("9.1200")
    assert volume_usd_per_month("ap-south-1", "gp3", gib=HUNDRED, iops=4000, mibps=None) is None
    assert usd_per_month("aws", "us-east-1", "s3-glacier", gib=HUNDRED) is None
    assert usd_per_month("aws", None, "s3-standard", gib=HUNDRED) is None
    assert address_usd_per_month("gcp", "us-central1") is None


def test_buckets_and_addresses() -> None:
    assert usd_per_month("aws", "eu-central-1", "s3-standard", gib=HUNDRED) == Decimal("2.4500")
    assert usd_per_month("gcp", "us", "gcs-standard", gib=HUNDRED) == Decimal("2.600")
    assert address_usd_per_month("aws", "anywhere-1") == Decimal("3.650")
