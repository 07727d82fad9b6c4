"""Each trap of the price catalogs, one test; rows are made up, in the catalogs' schema."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.prices.price_rules import RULES
from manager.prices.sky_catalog import default_catalog_dir, read_catalogs

HEADER = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
)
NOW_S = 2_000_000_000.0


def write(directory: Path, cloud: str, *rows: str, header: str = HEADER) -> Path:
    path = directory / cloud / "vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    os.utime(path, (NOW_S - 600, NOW_S - 600))
    return path


def read(tmp_path: Path, cloud: str, *rows: str) -> Market:
    write(tmp_path / "v8", cloud, *rows)
    return read_catalogs(tmp_path / "v8", now_s=NOW_S)


def counts(reading: Market) -> dict[str, int]:
    assert all(one.rule in RULES for one in reading.audit)
    return {one.rule: one.count for one in reading.audit}


def by_market(reading: Market) -> tuple[list[Offer], list[Offer]]:
    on_demand = [offer for offer in reading.offers() if not offer.use_spot]
    return on_demand, [offer for offer in reading.offers() if offer.use_spot]


def test_one_offer_per_market_and_price_with_zones_merged(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "aws",
        "g6.xlarge,L4,1.0,4.0,16.0,,0.8048,0.4011,us-east-1,use1-az2,x86_64",
        "g6.xlarge,L4,1.0,4.0,16.0,,0.8048,0.3500,us-east-1,use1-az1,x86_64",
        "g6.xlarge,L4,1.0,4.0,16.0,,0.8048,0.3500,us-east-1,use1-az4,x86_64",
    )
    on_demand, spot = by_market(reading)
    assert [(offer.price_usd_per_hour, offer.zones) for offer in on_demand] == [
        (Decimal("0.8048"), ("use1-az1", "use1-az2", "use1-az4"))
    ]
    assert {(offer.price_usd_per_hour, offer.zones) for offer in spot} == {
        (Decimal("0.4011"), ("use1-az2",)),
        (Decimal("0.3500"), ("use1-az1", "use1-az4")),
    }
    offer = on_demand[0]
    assert offer.key == "aws/us-east-1/g6.xlarge/L4:1/on-demand"
    assert (offer.vcpus, offer.host_memory_bytes) == (4.0, 16 * 2**30)
    assert (offer.price_source, offer.price_age_s) == ("SkyPilot catalog v8/aws", 600.0)


def test_prices_that_differ_by_rounding_are_one_price(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "aws",
        "p4d.24xlarge,A100,8.0,96.0,1152.0,,21.957642,,us-east-1,use1-az1,x86_64",
        "p4d.24xlarge,A100,8.0,96.0,1152.0,,21.95764,,us-east-1,use1-az2,x86_64",
    )
    assert [offer.zones for offer in reading.offers()] == [("use1-az1", "use1-az2")]


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("", "unknown_price"),
        ("NaN", "unknown_price"),
        ("nan", "unknown_price"),
        ("0.0", "zero_price"),
        ("0.000001", "zero_price"),
        ("-1.5", "negative_price"),
        ("inf", "unreadable_price"),
        ("n/a", "unreadable_price"),
    ],
)
def test_price_that_cannot_be_believed_is_unknown_and_listed(tmp_path: Path, cell: str, rule: str) -> None:
    reading = read(tmp_path, "aws", f"g6.xlarge,L4,1.0,4.0,16.0,,{cell},0.4,us-east-1,use1-az1,x86_64")
    on_demand, spot = by_market(reading)
    assert [(offer.price_usd_per_hour, offer.flags) for offer in on_demand] == [(None, ("unknown_price",))]
    assert [offer.price_usd_per_hour for offer in spot] == [Decimal("0.4")]
    assert counts(reading)[rule] == 1


@pytest.mark.parametrize(("cell", "rule"), [("", "no_spot_price"), ("NaN", "no_spot_price"), ("0.00", "zero_price")])
def test_no_spot_price_is_no_spot_offer(tmp_path: Path, cell: str, rule: str) -> None:
    reading = read(tmp_path, "aws", f"g6.xlarge,L4,1.0,4.0,16.0,,0.8,{cell},us-east-1,use1-az1,x86_64")
    assert [offer.use_spot for offer in reading.offers()] == [False]
    assert counts(reading)[rule] == 1


@pytest.mark.parametrize(
    ("spot", "flags"),
    [
        ("1.2", ("spot_above_on_demand",)),
        ("1.0", ("spot_equals_on_demand",)),
        ("1.00004", ("spot_equals_on_demand",)),
        ("0.1", ("spot_is_a_tenth",)),
        ("0.3", ()),
    ],
)
def test_remarkable_spot_prices_are_flagged_and_kept(tmp_path: Path, spot: str, flags: tuple[str, ...]) -> None:
    reading = read(tmp_path, "aws", f"g6.xlarge,L4,1.0,4.0,16.0,,1.0,{spot},us-east-1,use1-az1,x86_64")
    _, offers = by_market(reading)
    assert [(offer.price_usd_per_hour, offer.flags) for offer in offers] == [(Decimal(spot), flags)]


def test_memory_comes_from_our_table_not_from_the_catalog(tmp_path: Path) -> None:
    wrong = "\"{'Gpus': [{'Name': 'L4', 'MemoryInfo': {'SizeInMiB': 24}}]}\""
    reading = read(
        tmp_path,
        "runpod",
        f"2x_L4_SECURE,L4,2.0,8.0,48.0,{wrong},0.8,,US,US-1,",
        "1x_NEW,Unheard-Of,1.0,8.0,48.0,,0.8,,US,US-1,",
    )
    assert [offer.accelerator_memory_bytes for offer in reading.offers()] == [22888 * 2**20, None]


def test_part_of_an_accelerator(tmp_path: Path) -> None:
    reading = read(tmp_path, "aws", "g6f.2xlarge,L4,0.25,8.0,32.0,,0.49,,us-east-1,use1-az1,x86_64")
    assert [(offer.accelerator_count, offer.flags) for offer in reading.offers()] == [
        (0.25, ("fractional_accelerator",))
    ]


def test_wrong_count_is_corrected_from_the_shipped_table(tmp_path: Path) -> None:
    reading = read(tmp_path, "azure", "Standard_ND96isr_H100_v5,H100,12,96.0,1900,,98.32,,eastus,,")
    offer = next(iter(reading.offers()))
    assert (offer.accelerator_count, offer.flags) == (8.0, ("count_corrected",))
    assert offer.price_usd_per_hour == Decimal("98.32")
    assert any("count" in note or "number of accelerators" in note for note in reading.notes)


def test_impossible_count_has_no_usable_price(tmp_path: Path) -> None:
    reading = read(tmp_path, "azure", "Standard_ND_Unheard,H100,12,96.0,1900,,98.32,90.0,eastus,,")
    assert {offer.price_usd_per_hour for offer in reading.offers()} == {None}
    assert all("implausible_accelerator_count" in offer.flags for offer in reading.offers())


def test_count_that_the_name_confirms_is_believed(tmp_path: Path) -> None:
    reading = read(tmp_path, "runpod", "10x_RTXA4000_SECURE,RTXA4000,10.0,80.0,480.0,,2.5,,US,US-1,")
    assert [(offer.accelerator_count, offer.flags) for offer in reading.offers()] == [(10.0, ())]


@pytest.mark.parametrize(
    ("cloud", "row", "rule"),
    [
        ("azure", "Standard_NCC40ads_H100_v5,,,40.0,320,,6.98,1.745,eastus2,,", "accelerator_missing"),
        ("aws", ",L4,1.0,4.0,16.0,,1.0,,us-east-1,use1-az1,x86_64", "instance_type_missing"),
        ("aws", "g9.xlarge,,1.0,4.0,16.0,,1.0,,us-east-1,use1-az1,x86_64", "accelerator_missing"),
        ("aws", "g9.xlarge,L4,0,4.0,16.0,,1.0,,us-east-1,use1-az1,x86_64", "accelerator_count_missing"),
        ("aws", "t2.micro,,,1.0,1.0,,0.01,,us-east-1,use1-az1,i386", "unsupported_architecture"),
    ],
)
def test_rows_that_are_no_offer_are_left_out_and_counted(tmp_path: Path, cloud: str, row: str, rule: str) -> None:
    reading = read(tmp_path, cloud, row)
    assert list(reading.offers()) == []
    assert counts(reading)[rule] == 1


@pytest.mark.parametrize("count", ["", "0", "0.0"])
def test_machine_without_accelerator(tmp_path: Path, count: str) -> None:
    reading = read(tmp_path, "nebius", f"cpu-d3_8vcpu-32gb,,{count},8,32,,0.1984,,eu-north1,,")
    offer = next(iter(reading.offers()))
    assert offer.key == "nebius/eu-north1/cpu-d3_8vcpu-32gb/cpu/on-demand"
    assert (offer.accelerator_memory_bytes, offer.zones) == (None, ())


def test_arm_is_flagged(tmp_path: Path) -> None:
    reading = read(tmp_path, "aws", "m7g.xlarge,,,4.0,16.0,,0.16,,us-east-1,use1-az1,arm64")
    assert next(iter(reading.offers())).flags == ("arm64",)


def test_region_with_commas_and_foreign_letters(tmp_path: Path) -> None:
    reading = read(tmp_path, "vast", '1x-L4-8-32,L4,1,8,32.0,,0.5,0.00,", München, EU",,')
    assert next(iter(reading.offers())).region == ", München, EU"


def test_exact_duplicate_counts_once(tmp_path: Path) -> None:
    row = "g6.xlarge,L4,1.0,4.0,16.0,,0.8,0.3,us-east-1,use1-az1,x86_64"
    reading = read(tmp_path, "aws", row, row)
    assert len(list(reading.offers())) == 2
    assert counts(reading)["duplicate_row"] == 1


def test_missing_optional_columns_are_fine_and_order_is_free(tmp_path: Path) -> None:
    header = "Region,Price,SpotPrice,InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB"
    write(tmp_path / "v8", "lambda", "us-east-1,1.29,,gpu_1x_a10,A10,1.0,30.0,200.0", header=header)
    reading = read_catalogs(tmp_path / "v8", now_s=NOW_S)
    assert next(iter(reading.offers())).key == "lambda/us-east-1/gpu_1x_a10/A10:1/on-demand"


def test_a_file_is_no_folder_of_catalogs(tmp_path: Path) -> None:
    file = write(tmp_path / "v8", "aws", "g6.xlarge,L4,1.0,4.0,16.0,,0.8,0.4,us-east-1,us-east-1a,")
    with pytest.raises(PriceError, match=r"vms\.csv is a file, where a folder") as caught:
        read_catalogs(file, now_s=NOW_S)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(f"this file's is {tmp_path / 'v8'}")


def test_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path / "v8", "aws", "g6.xlarge,L4", header="InstanceType,AcceleratorName")
    with pytest.raises(PriceError, match=r"aws/vms\.csv has no column 'AcceleratorCount'") as caught:
        read_catalogs(tmp_path / "v8", now_s=NOW_S)
    assert caught.value.hint


def test_cut_row_is_named(tmp_path: Path) -> None:
    write(tmp_path / "v8", "aws", "g6.xlarge,L4,1.0,4.0")
    with pytest.raises(PriceError, match=r"row 1: 4 cells, the header has 11"):
        read_catalogs(tmp_path / "v8", now_s=NOW_S)


def test_cut_quote_is_named(tmp_path: Path) -> None:
    write(tmp_path / "v8", "aws", "g6.xlarge,L4,1.0,4.0,16.0,\"{'Gpus': [")
    with pytest.raises(PriceError, match=r"vms\.csv, line 2"):
        read_catalogs(tmp_path / "v8", now_s=NOW_S)


def test_row_without_line_end_is_not_believed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "v8",
        "nebius",
        "gpu-a,L40S,1,8,32,,1.5484,,eu-north1,,",
        "gpu-b,L40S,1,8,32,,1.7468,,eu-north1,,",
    )
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    reading = read_catalogs(tmp_path / "v8", now_s=NOW_S)
    assert [offer.instance_type for offer in reading.offers()] == ["gpu-a"]
    assert counts(reading)["unterminated_last_row"] == 1


def test_empty_and_binary_files_are_price_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "v8", "aws")
    path.write_bytes(b"")
    with pytest.raises(PriceError, match="is empty"):
        read_catalogs(tmp_path / "v8", now_s=NOW_S)
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(PriceError, match="cannot be read"):
        read_catalogs(tmp_path / "v8", now_s=NOW_S)


def test_one_damaged_cloud_does_not_take_the_others_along(tmp_path: Path) -> None:
    write(tmp_path / "v8", "aws", "g6.xlarge,L4,1.0,4.0")
    reading = read(tmp_path, "nebius", "gpu-a,L40S,1,8,32,,1.5484,,eu-north1,,")
    assert {offer.cloud for offer in reading.offers()} == {"nebius"}
    assert any(note.startswith("aws left out:") and "4 cells" in note for note in reading.notes)


def test_folder_without_catalogs(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="does not exist"):
        read_catalogs(tmp_path / "nowhere", now_s=NOW_S)
    (tmp_path / "v8" / "common").mkdir(parents=True)
    (tmp_path / "v8" / "common" / "vms.csv").write_text(HEADER + "\n", encoding="utf-8")
    with pytest.raises(PriceError, match="has no price catalog"):
        read_catalogs(tmp_path / "v8", now_s=NOW_S)


def test_age_is_that_of_the_download_not_of_a_failed_refresh(tmp_path: Path) -> None:
    directory = tmp_path / "v8"
    write(directory, "aws", "g6.xlarge,L4,1.0,4.0,16.0,,0.8,,us-east-1,use1-az1,x86_64")
    mark = directory / ".meta" / "aws" / "vms.csv.md5"
    mark.parent.mkdir(parents=True)
    mark.write_text("0" * 32, encoding="utf-8")
    os.utime(mark, (NOW_S - 86_400, NOW_S - 86_400))
    assert read_catalogs(directory, now_s=NOW_S).rentals[0].price_age_s == 86_400
    assert read_catalogs(directory, now_s=NOW_S - 90_000).rentals[0].price_age_s is None


def test_default_folder_is_skypilots_own() -> None:
    assert default_catalog_dir(Path("/home/me")) == Path("/home/me/.sky/catalogs/v8")
