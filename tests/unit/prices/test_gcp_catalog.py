"""GCP: hosts and accelerators joined to one price; TPU placeholders told from prices."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.prices.sky_catalog import read_catalogs

HEADER = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice"
NOW_S = 2_000_000_000.0


def read(tmp_path: Path, *rows: str) -> Market:
    path = tmp_path / "v8" / "gcp" / "vms.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    os.utime(path, (NOW_S, NOW_S))
    return read_catalogs(tmp_path / "v8", now_s=NOW_S)


def offers(reading: Market, *, spot: bool = False) -> dict[tuple[str | None, str | None], Offer]:
    """(region, instance type) -> offer of machines with an accelerator."""
    return {(o.region, o.instance_type): o for o in reading.offers() if o.accelerator and o.use_spot is spot}


def rules(reading: Market) -> dict[str, int]:
    return {one.rule: one.count for one in reading.audit}


def test_host_and_accelerator_make_one_price(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975",
        ",,,A100,1,,us-central1,us-central1-a,2.93391,1.4341",
    )
    assert len(list(reading.offers())) == 2
    offer = offers(reading)["us-central1", "a2-highgpu-1g"]
    assert offer.price_usd_per_hour == Decimal("3.67339")
    assert (offer.vcpus, offer.host_memory_bytes) == (12.0, 85 * 2**30)
    assert offers(reading, spot=True)["us-central1", "a2-highgpu-1g"].price_usd_per_hour == Decimal("1.80385")


def test_spot_above_on_demand_is_judged_on_the_joined_price(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "a2-ultragpu-1g,12.0,170.0,,,,us-central1,us-central1-a,1.09962,0.54978",
        ",,,A100-80GB,1,,us-central1,us-central1-a,1.8462,1.964",
        "a2-ultragpu-1g,12.0,170.0,,,,us-east1,us-east1-a,0.10,0.05",
        ",,,A100-80GB,1,,us-east1,us-east1-a,1.8462,1.964",
    )
    spot = offers(reading, spot=True)
    assert spot["us-central1", "a2-ultragpu-1g"].flags == ()
    assert spot["us-east1", "a2-ultragpu-1g"].flags == ("spot_above_on_demand",)


def test_every_host_made_for_an_accelerator_is_offered_and_none_alone(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "g2-standard-4,4.0,16.0,,,,us-central1,us-central1-a,0.146,0.05",
        "g2-standard-8,8.0,32.0,,,,us-central1,us-central1-a,0.293,0.11",
        ",,,L4,1,,us-central1,us-central1-a,0.56,0.22",
    )
    assert set(offers(reading)) == {("us-central1", "g2-standard-4"), ("us-central1", "g2-standard-8")}
    assert not [offer for offer in reading.offers() if offer.accelerator is None]


def test_n1_host_is_the_cheapest_with_enough_memory_and_stays_an_offer(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "n1-standard-4,4.0,15.0,,,,us-central1,us-central1-a,0.19,0.05",
        "n1-standard-8,8.0,30.0,,,,us-central1,us-central1-a,0.38,0.10",
        "n1-highmem-4,4.0,26.0,,,,us-central1,us-central1-a,0.2366,0.06",
        "n2-standard-4,4.0,16.0,,,,us-central1,us-central1-a,0.1,0.05",
        ",,,T4,1,,us-central1,us-central1-a,0.35,0.175",
    )
    found = offers(reading)
    assert set(found) == {("us-central1", "n1-highmem-4")}
    assert found["us-central1", "n1-highmem-4"].price_usd_per_hour == Decimal("0.5866")
    assert len([offer for offer in reading.offers() if offer.accelerator is None and not offer.use_spot]) == 4


def test_host_price_of_another_zone_of_the_region_holds(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975",
        ",,,A100,1,,us-central1,us-central1-a,2.93391,1.4341",
        ",,,A100,1,,us-central1,us-central1-b,2.93391,1.4341",
    )
    assert offers(reading)["us-central1", "a2-highgpu-1g"].zones == ("us-central1-a", "us-central1-b")


def test_accelerator_without_host_price_is_unknown_not_cheap(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975",
        ",,,A100,1,,europe-west4,europe-west4-a,1.61365,1.1691",
        ",,,V100,1,,asia-east1,asia-east1-c,2.48,1.0",
    )
    assert {(o.accelerator, o.price_usd_per_hour, o.flags) for o in list(reading.offers())} == {
        ("A100", None, ("no_host_price",)),
        ("V100", None, ("no_host_price",)),
    }


def test_host_at_zero_is_part_of_the_accelerators_price(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "a4-highgpu-8g,224.0,3968.0,,,,us-east4,us-east4-b,0.0,0.0",
        ",,,B200,8,,us-east4,us-east4-b,64.44,32.6064",
        "n1-highmem-8,8.0,52.0,,,,us-east4,us-east4-b,0.0,0.0",
        ",,,V100,1,,us-east4,us-east4-b,2.48,1.0",
    )
    assert offers(reading)["us-east4", "a4-highgpu-8g"].price_usd_per_hour == Decimal("64.44")
    assert offers(reading, spot=True)["us-east4", "a4-highgpu-8g"].price_usd_per_hour == Decimal("32.6064")
    assert offers(reading)["us-east4", "n1-highmem-8"].price_usd_per_hour is None


def test_unknown_number_of_an_accelerator_has_no_host(tmp_path: Path) -> None:
    reading = read(tmp_path, ",,,A100,3,,us-central1,us-central1-a,2.9,1.4")
    assert list(reading.offers()) == []
    assert rules(reading)["no_known_host"] == 1
    assert reading.notes[1:] == ("gcp: no host is known for this number of accelerators; left out (1 row)",)


@pytest.mark.parametrize(
    ("slice_name", "chip_gib"),
    [("tpu-v5litepod-8", 16), ("tpu-v4-8", 32), ("tpu-v5p-8", 95), ("tpu-v6e-4", 32), ("tpu-v6e-256", 32)],
)
def test_tpu_slice_has_the_whole_price_and_one_chips_memory(tmp_path: Path, slice_name: str, chip_gib: int) -> None:
    reading = read(tmp_path, f",,,{slice_name},1,{slice_name},us-central1,us-central1-a,9.6,1.95941")
    offer = offers(reading)["us-central1", "TPU-VM"]
    assert (offer.accelerator, offer.accelerator_count, offer.vcpus) == (slice_name, 1.0, None)
    assert offer.price_usd_per_hour == Decimal("9.6")
    assert offer.accelerator_memory_bytes == chip_gib * 2**30


def test_skypilots_placeholder_is_no_price(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        ",,,tpu-v6e-1,1,tpu-v6e-1,asia-east1,asia-east1-c,700.0,700.0",
        ",,,tpu-v6e-256,1,tpu-v6e-256,southamerica-west1,southamerica-west1-a,691.2,700.0",
    )
    found = offers(reading)
    assert found["asia-east1", "TPU-VM"].price_usd_per_hour is None
    assert found["asia-east1", "TPU-VM"].flags == ("placeholder_price",)
    assert found["southamerica-west1", "TPU-VM"].price_usd_per_hour == Decimal("691.2")
    assert offers(reading, spot=True) == {}
    assert rules(reading)["placeholder_price"] == 3


def test_figure_that_slices_of_different_size_share_is_a_placeholder(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        ",,,tpu-v5p-8,1,tpu-v5p-8,us-a,us-a-a,950.0,3.0",
        ",,,tpu-v5p-16,1,tpu-v5p-16,us-a,us-a-a,950.0,6.0",
        ",,,tpu-v5p-8,1,tpu-v5p-8,us-b,us-b-a,16.8,3.0",
    )
    assert {(o.accelerator, o.region): o.price_usd_per_hour for o in reading.offers() if not o.use_spot} == {
        ("tpu-v5p-8", "us-a"): None,
        ("tpu-v5p-16", "us-a"): None,
        ("tpu-v5p-8", "us-b"): Decimal("16.8"),
    }
    assert len([o for o in reading.offers() if o.use_spot]) == 3


def test_stored_duplicates_give_one_offer(tmp_path: Path) -> None:
    row = ",,,tpu-v4-8,1,tpu-v4-8,us-central2,us-central2-b,12.88,3.686"
    reading = read(tmp_path, row, row)
    assert len(list(reading.offers())) == 2
    assert rules(reading)["duplicate_row"] == 1
