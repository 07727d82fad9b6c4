"""Slurm pools: the three levels of SkyPilot's pricing, and what is refused."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.offer import Offer
from manager.prices.sky_config import PoolReading, load_sky_config
from manager.prices.slurm import slurm_pools

NOW_S = 2_000_000_000.0

CONFIG = """
slurm:
  pricing: {cpu: 0.04, accelerators: {A100: 3.0, V100: 0.5}}
  cluster_configs:
    lab:
      pricing: {accelerators: {V100: 0.4}}
      partition_configs:
        cheap: {pricing: {accelerators: {A100: 1.99}}}
        dear: {pricing: {accelerators: {A100: 3.67}}}
        cpu: {}
"""


def read(tmp_path: Path, text: str) -> PoolReading:
    config = tmp_path / "config.yaml"
    config.write_text(text, encoding="utf-8")
    os.utime(config, (NOW_S - 60, NOW_S - 60))
    return slurm_pools(load_sky_config(config, now_s=NOW_S))


def priced(reading: PoolReading) -> dict[str, Decimal | None]:
    return {offer.key: offer.price_usd_per_hour for offer in reading.offers}


def test_partitions_with_a_price_of_their_own(tmp_path: Path) -> None:
    prices = priced(read(tmp_path, CONFIG))
    assert prices["slurm/lab/cheap/A100:1/on-demand"] == Decimal("1.99")
    assert prices["slurm/lab/cheap/A100:8/on-demand"] == Decimal("15.92")
    assert prices["slurm/lab/dear/A100:2/on-demand"] == Decimal("7.34")


def test_price_of_the_cluster_is_offered_without_partition_and_wins_over_the_cloud(tmp_path: Path) -> None:
    prices = priced(read(tmp_path, CONFIG))
    assert prices["slurm/lab/-/V100:1/on-demand"] == Decimal("0.4")
    assert not [key for key in prices if key.startswith("slurm/lab/-/A100")]
    assert len(prices) == 12


def test_offer_says_cluster_partition_age_and_memory(tmp_path: Path) -> None:
    offer: Offer = read(tmp_path, CONFIG).offers[0]
    assert (offer.region, offer.instance_type, offer.zones) == ("lab", "cheap", ("cheap",))
    assert offer.accelerator_memory_bytes == 40 * 2**30
    assert (offer.price_source, offer.price_age_s) == ("SkyPilot config config.yaml, Slurm cluster lab", 60.0)
    assert not offer.use_spot


def test_case_of_a_name_does_not_matter(tmp_path: Path) -> None:
    reading = read(tmp_path, "slurm: {cluster_configs: {lab: {pricing: {accelerators: {a100: 2}}}}}")
    assert reading.offers[0].key == "slurm/lab/-/A100:1/on-demand"


SPELLED_TWICE = """
slurm:
  pricing: {accelerators: {A100: 3}}
  cluster_configs: {lab: {partition_configs: {p: {pricing: {accelerators: {a100: 1}}}}}}
"""


def test_of_two_spellings_the_first_holds_as_in_skypilot(tmp_path: Path) -> None:
    assert priced(read(tmp_path, SPELLED_TWICE))["slurm/lab/p/A100:1/on-demand"] == Decimal(3)
    alone = SPELLED_TWICE.replace("A100: 3", "V100: 3")
    assert priced(read(tmp_path, alone))["slurm/lab/p/A100:1/on-demand"] == Decimal(1)


def test_zero_is_unknown(tmp_path: Path) -> None:
    text = "slurm: {cluster_configs: {lab: {pricing: {accelerators: {A100: 0}}}}}"
    assert set(priced(read(tmp_path, text)).values()) == {None}


def test_price_without_cluster_is_said(tmp_path: Path) -> None:
    reading = read(tmp_path, "slurm: {pricing: {accelerators: {A100: 1}}}")
    assert reading.offers == ()
    assert "names no cluster" in reading.notes[0]


def test_unknown_accelerator_is_listed_and_said(tmp_path: Path) -> None:
    reading = read(tmp_path, "slurm: {cluster_configs: {lab: {pricing: {accelerators: {Abacus: 1}}}}}")
    assert reading.offers[0].accelerator_memory_bytes is None
    assert reading.notes == ("Slurm: no specification of Abacus; such offers cannot be estimated",)


@pytest.mark.parametrize("text", ["", "aws: {}", "slurm:", "slurm: {cluster_configs: {lab: null}}"])
def test_nothing_priced_is_no_offer(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == PoolReading(offers=(), notes=())


def test_missing_file_is_no_offer(tmp_path: Path) -> None:
    assert slurm_pools(load_sky_config(tmp_path / "config.yaml", now_s=NOW_S)) == PoolReading(offers=(), notes=())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slurm: {cluster_configs: {lab: {pricing: {accelerators: {A100: free}}}}}", "accelerators.A100 is 'free'"),
        ("slurm: {cluster_configs: {lab: {pricing: {accelerators: {A100: -1}}}}}", "accelerators.A100 is -1"),
        ("slurm: {cluster_configs: {lab: {pricing: {accelerators: {A100: .nan}}}}}", "accelerators.A100 is nan"),
        ("slurm: {cluster_configs: [lab]}", "slurm.cluster_configs is"),
        ("slurm: [", "is no YAML"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PriceError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.hint
