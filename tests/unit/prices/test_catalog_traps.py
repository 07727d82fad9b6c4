"""Traps of single clouds' catalogs, each found by a rule with a name; rows are made up, in the catalogs' columns."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.market import Market
from manager.prices.price_rules import RULES
from manager.prices.sky_catalog import read_catalogs

AWS = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch,"
    "LocalDiskType,NVMeSupported,LocalDiskSize,LocalDiskCount,MaximumEfaInterfaces"
)
SMALL = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
ZONED = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone"
VAST = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,HostingType"
HEADERS = {
    "aws": AWS,
    "azure": "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,Generation",
    "cudo": SMALL,
    "do": SMALL,
    "fluidstack": SMALL,
    "hyperbolic": (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,StorageGiB,Price,Region,GpuInfo,SpotPrice"
    ),
    "ibm": ZONED,
    "lambda": SMALL,
    "mithril": "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region,GpuInfo",
    "nebius": SMALL,
    "oci": ZONED,
    "paperspace": SMALL,
    "primeintellect": SMALL,
    "runpod": (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Region,SpotPrice,Price,AvailabilityZone,GpuInfo"
    ),
    "scp": SMALL,
    "seeweb": SMALL,
    "shadeform": SMALL,
    "vast": VAST,
    "verda": SMALL,
    "vsphere": ZONED,
    "yotta": SMALL,
}
"""Cloud -> the columns that SkyPilot 0.14 writes or reads for it."""
L4 = {
    "InstanceType": "one-l4",
    "AcceleratorName": "L4",
    "AcceleratorCount": "1",
    "vCPUs": "4",
    "MemoryGiB": "16",
    "Price": "0.8",
    "Region": "r1",
}


def read(tmp_path: Path, cloud: str, *rows: str, header: str = AWS, line_end: str = "\n", bom: str = "") -> Market:
    path = tmp_path / "v8" / cloud / "vms.csv"
    path.parent.mkdir(parents=True)
    text = bom + line_end.join((header, *rows)) + line_end
    path.write_bytes(text.encode())
    return read_catalogs(tmp_path / "v8", now_s=4e9)


def counts(market: Market) -> dict[str, int]:
    assert all(one.rule in RULES for one in market.audit)
    return {one.rule: one.count for one in market.audit}


def row(header: str, cells: dict[str, str]) -> str:
    return ",".join(cells.get(name, "") for name in header.split(","))


@pytest.mark.parametrize("cloud", HEADERS)
def test_columns_of_every_cloud_are_read(tmp_path: Path, cloud: str) -> None:
    header = HEADERS[cloud]
    (offer,) = read(tmp_path, cloud, row(header, L4), header=header).offers()
    assert offer.key == f"{cloud}/r1/one-l4/L4:1/on-demand"
    assert (offer.price_usd_per_hour, offer.vcpus, offer.host_memory_bytes) == (Decimal("0.8"), 4.0, 16 * 2**30)


@pytest.mark.parametrize(
    "column", ["InstanceType", "AcceleratorName", "vCPUs", "MemoryGiB", "Price", "SpotPrice", "Region"]
)
def test_missing_column_is_named(tmp_path: Path, column: str) -> None:
    header = SMALL.replace(column, "Other" + column, 1)
    with pytest.raises(PriceError, match=f"has no column '{column}'") as caught:
        read(tmp_path, "lambda", row(header, L4), header=header)
    assert caught.value.hint


def test_new_column_is_passed_over(tmp_path: Path) -> None:
    header = "Carbon," + SMALL
    (offer,) = read(tmp_path, "lambda", row(header, {**L4, "Carbon": "NaN"}), header=header).offers()
    assert offer.price_usd_per_hour == Decimal("0.8")


def test_column_that_stands_twice_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="has the column 'Price' twice"):
        read(tmp_path, "lambda", row(SMALL, L4) + ",0.1", header=SMALL + ",Price")


@pytest.mark.parametrize(("line_end", "bom"), [("\r\n", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff"), ("\r", "")])
def test_line_ends_and_byte_order_marks_of_other_systems(tmp_path: Path, line_end: str, bom: str) -> None:
    (offer,) = read(tmp_path, "lambda", row(SMALL, L4), header=SMALL, line_end=line_end, bom=bom).offers()
    assert offer.price_usd_per_hour == Decimal("0.8")


def test_file_in_another_encoding_is_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "v8" / "vast" / "vms.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(f"{SMALL}\n".encode() + row(SMALL, {**L4, "Region": "München"}).encode("latin-1") + b"\n")
    with pytest.raises(PriceError, match=r"vast/vms\.csv cannot be read: .*0xfc"):
        read_catalogs(tmp_path / "v8", now_s=4e9)


def test_local_zone_is_a_place_of_its_own(tmp_path: Path) -> None:
    market = read(
        tmp_path,
        "aws",
        row(AWS, {**L4, "AvailabilityZone": "usw2-az1", "SpotPrice": "0.3"}),
        row(AWS, {**L4, "AvailabilityZone": "usw2-lax1-az1", "SpotPrice": "0.4", "Price": "0.96"}),
    )
    assert {(o.price_usd_per_hour, o.zones, o.flags) for o in market.offers()} == {
        (Decimal("0.8"), ("usw2-az1",), ()),
        (Decimal("0.96"), ("usw2-lax1-az1",), ("local_zone",)),
        (Decimal("0.3"), ("usw2-az1",), ()),
        (Decimal("0.4"), ("usw2-lax1-az1",), ("local_zone",)),
    }
    assert counts(market) == {"local_zone": 1}


def test_several_on_demand_prices_in_one_region_are_flagged(tmp_path: Path) -> None:
    rows = [
        row(SMALL, {**L4, "Price": price, "Region": region}) for price, region in (("1", "a"), ("2", "a"), ("3", "b"))
    ]
    market = read(tmp_path, "vast", *rows, header=SMALL)
    assert {(o.region, o.price_usd_per_hour, o.flags) for o in market.offers()} == {
        ("a", Decimal(1), ("several_prices",)),
        ("a", Decimal(2), ("several_prices",)),
        ("b", Decimal(3), ()),
    }
    assert counts(market)["several_prices"] == 1


def test_row_without_region_is_left_out(tmp_path: Path) -> None:
    market = read(tmp_path, "seeweb", row(SMALL, {**L4, "Region": ""}), row(SMALL, L4), header=SMALL)
    assert [offer.region for offer in market.offers()] == ["r1"]
    assert counts(market)["region_missing"] == 1
    assert any("names no region" in note for note in market.notes)


def test_every_machine_in_every_region_at_one_price_says_nothing_of_regions(tmp_path: Path) -> None:
    rows = [
        row(SMALL, {**L4, "InstanceType": f"m{n}", "Price": str(n), "Region": region})
        for n in range(1, 6)
        for region in ("a", "b", "c")
    ]
    assert counts(read(tmp_path, "lambda", *rows, header=SMALL))["every_region"] == 15


def test_one_machine_that_is_not_everywhere_shows_that_regions_mean_something(tmp_path: Path) -> None:
    rows = [
        row(SMALL, {**L4, "InstanceType": f"m{n}", "Price": str(n), "Region": region})
        for n in range(1, 6)
        for region in ("a", "b", "c")
    ]
    assert "every_region" not in counts(read(tmp_path, "lambda", *rows[:-1], header=SMALL))


def test_two_cards_under_one_name_are_told_by_memory(tmp_path: Path) -> None:
    def a100(kind: str, mebibytes: int) -> str:
        info = f"\"{{'Gpus': [{{'MemoryInfo': {{'SizeInMiB': {mebibytes}}}}}]}}\""
        return row(VAST, {**L4, "AcceleratorName": "A100", "InstanceType": f"1x-A100_{kind}", "GpuInfo": info})

    market = read(tmp_path, "vast", a100("SXM4", 40960), a100("PCIE", 81920), header=VAST)
    assert {(o.instance_type, o.accelerator, o.accelerator_memory_bytes, o.flags) for o in market.offers()} == {
        ("1x-A100_SXM4", "A100", 40 * 2**30, ()),
        ("1x-A100_PCIE", "A100", 80 * 2**30, ("card_by_memory",)),
    }
    assert counts(market)["memory_differs"] == 1


def test_one_machine_name_for_two_cards_is_planned_with_the_smaller(tmp_path: Path) -> None:
    rows = [
        row(
            VAST,
            {
                **L4,
                "AcceleratorName": "A100",
                "GpuInfo": f"\"{{'Gpus': [{{'MemoryInfo': {{'SizeInMiB': {size}}}}}]}}\"",
                "Region": region,
            },
        )
        for size, region in ((81920, "a"), (40960, "b"))
    ]
    market = read(tmp_path, "vast", *rows, header=VAST)
    (rental,) = market.rentals
    assert (rental.accelerator_memory_bytes, rental.flags) == (40 * 2**30, ("several_cards",))
    assert counts(market)["several_cards"] == 2


def test_card_that_cannot_be_told_has_no_price(tmp_path: Path) -> None:
    info = "\"{'Gpus': [{'MemoryInfo': {'SizeInMiB': 16384}}]}\""
    cells = {**L4, "AcceleratorName": "RTX3060", "AcceleratorCount": "2", "GpuInfo": info}
    (offer,) = read(tmp_path, "vast", row(VAST, cells), header=VAST).offers()
    assert (offer.price_usd_per_hour, offer.accelerator_memory_bytes, offer.flags) == (None, None, ("card_not_known",))


@pytest.mark.parametrize(("hosting", "flags"), [("0", ("consumer_host",)), ("1", ()), ("", ())])
def test_private_hosts_are_flagged(tmp_path: Path, hosting: str, flags: tuple[str, ...]) -> None:
    (offer,) = read(tmp_path, "vast", row(VAST, {**L4, "HostingType": hosting}), header=VAST).offers()
    assert offer.flags == flags


def test_prices_of_a_contract_beside_the_list_prices_are_said_and_not_read(tmp_path: Path) -> None:
    read(tmp_path, "nebius", row(SMALL, L4), header=SMALL)
    contract = tmp_path / "v8" / "nebius" / "vms_tenant-1.csv"
    contract.write_text(f"{SMALL}\n{row(SMALL, {**L4, 'Price': '0.5'})}\n", encoding="utf-8")
    market = read_catalogs(tmp_path / "v8", now_s=4e9)
    assert [offer.price_usd_per_hour for offer in market.offers()] == [Decimal("0.8")]
    assert [note for note in market.notes if "vms_tenant-1.csv" in note and "not read" in note]


def test_price_of_a_region_stays_its_own(tmp_path: Path) -> None:
    rows = [
        row(SMALL, {**L4, "Region": region, "Price": price}) for region, price in (("us", "4.2"), ("asia", "12.74"))
    ]
    (rental,) = read(tmp_path, "nebius", *rows, header=SMALL).rentals
    assert [(quote.region, quote.price) for quote in rental.quotes] == [
        ("us", Decimal("4.2")),
        ("asia", Decimal("12.74")),
    ]


def test_cells_with_spaces_around_numbers_are_read(tmp_path: Path) -> None:
    (offer,) = read(tmp_path, "nebius", row(SMALL, {**L4, "Price": " 0.8 "}), header=SMALL).offers()
    assert offer.price_usd_per_hour == Decimal("0.8")


@pytest.mark.parametrize("locale", ["C", "POSIX", "tr_TR.ISO8859-9", "de_DE.ISO8859-1"])
def test_reading_does_not_depend_on_the_locale(tmp_path: Path, locale: str) -> None:
    read(tmp_path, "vast", row(SMALL, {**L4, "Region": "İzmir", "Price": "1234.5"}), header=SMALL)
    program = (
        "import sys; from pathlib import Path; from manager.prices.sky_catalog import read_catalogs\n"
        "(offer,) = read_catalogs(Path(sys.argv[1]), now_s=4e9, cache=Path(sys.argv[2])).offers()\n"
        "print(ascii(offer.region), offer.price_usd_per_hour)"
    )
    strict = ("-X", "utf8=0", "-X", "warn_default_encoding", "-W", "error::EncodingWarning")
    for _ in range(2):  # The second time from the cache.
        done = subprocess.run(
            [sys.executable, *strict, "-c", program, str(tmp_path / "v8"), str(tmp_path / "cache")],
            env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("'\\u0130zmir' 1234.50000\n", "")
