"""The shipped table: every row dated, sourced, plausible, and with an accelerator that can be estimated."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from manager.catalog.accelerators import accelerator
from manager.prices.list_prices import ListPrice, known_counts, list_price_offers, list_prices, oldest_list_price

NOW_S = datetime(2026, 11, 21, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("row", list_prices(), ids=lambda row: f"{row.cloud}-{row.region}-{row.instance_type}")
def test_rows_are_dated_sourced_and_plausible(row: ListPrice) -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", row.as_of)
    assert re.match(r"skypilot-org/skypilot-catalog v\d/\w+ commit [0-9a-f]{7}", row.source)
    known = accelerator(row.accelerator)
    assert known is not None
    assert known.kind == "gpu"
    per_accelerator = row.price_usd_per_hour / Decimal(row.accelerator_count)
    assert Decimal("0.1") < per_accelerator < 25
    assert row.spot_usd_per_hour is None or Decimal(0) < row.spot_usd_per_hour < row.price_usd_per_hour
    assert row.vcpus
    assert row.memory_bytes


def test_six_clouds_and_about_a_hundred_shapes() -> None:
    assert {row.cloud for row in list_prices()} == {"aws", "azure", "gcp", "lambda", "nebius", "runpod"}
    assert len({(row.cloud, row.instance_type) for row in list_prices()}) >= 100


def test_no_row_stands_twice() -> None:
    keys = [offer.key for offer in list_price_offers(now_s=NOW_S)]
    assert len(keys) == len(set(keys))


def test_offers_carry_date_and_age() -> None:
    offer = next(o for o in list_price_offers(now_s=NOW_S) if o.key == "aws/us-east-1/g6.xlarge/L4:1/on-demand")
    assert offer.price_usd_per_hour == Decimal("0.8048")
    assert offer.price_source.startswith("list price of 2025-10-01, skypilot-org/skypilot-catalog v8/aws commit ")
    assert offer.price_age_s == NOW_S - datetime(2025, 10, 1, tzinfo=UTC).timestamp()


def test_clock_before_the_table_gives_unknown_age() -> None:
    assert {offer.price_age_s for offer in list_price_offers(now_s=0.0)} == {None}


def test_known_counts_are_per_cloud() -> None:
    assert known_counts("azure")["Standard_ND96isr_H100_v5"] == 8
    assert "Standard_ND96isr_H100_v5" not in known_counts("aws")
    assert oldest_list_price() == "2024-12-01"
