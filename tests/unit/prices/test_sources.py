"""Which source of prices is used, and that it is said."""

from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.local import detect_device
from manager.prices.sources import gather_market

ROWS = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice\n"
    "gpu_1x_a10,A10,1.0,30.0,200.0,1.29,us-east-1,,\n"
)
NOW_S = 4_000_000_000.0


def _catalogs(directory: Path) -> Path:
    (directory / "lambda").mkdir(parents=True)
    (directory / "lambda" / "vms.csv").write_text(ROWS, encoding="utf-8")
    return directory


def test_shipped_table_when_there_is_nothing_else(tmp_path: Path) -> None:
    reading = gather_market(catalogs=None, home=tmp_path, now_s=NOW_S)
    assert len(list(reading.offers())) > 100
    assert "shipped list prices are used, the oldest of 2024-12-01" in reading.notes[0]


def test_skypilots_own_folder_wins_over_the_shipped_table(tmp_path: Path) -> None:
    _catalogs(tmp_path / ".sky" / "catalogs" / "v8")
    reading = gather_market(catalogs=None, home=tmp_path, now_s=NOW_S)
    assert [offer.price_source for offer in reading.offers()] == ["SkyPilot catalog v8/lambda"]


def test_folder_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    given = _catalogs(tmp_path / "mine")
    reading = gather_market(catalogs=given, home=tmp_path, now_s=NOW_S)
    assert [offer.price_source for offer in reading.offers()] == ["SkyPilot catalog mine/lambda"]
    with pytest.raises(PriceError, match="does not exist"):
        gather_market(catalogs=tmp_path / "other", home=tmp_path, now_s=NOW_S)


def test_local_and_pools_stand_beside_the_clouds(tmp_path: Path) -> None:
    _catalogs(tmp_path / ".sky" / "catalogs" / "v8")
    (tmp_path / ".sky" / "config.yaml").write_text(
        "slurm: {cluster_configs: {lab: {partition_configs: {gpu: {pricing: {accelerators: {L4: 0.8}}}}}}}\n"
        "kubernetes: {pricing: {accelerators: {H100: 2.5}}}\n",
        encoding="utf-8",
    )
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("current-context: prod\n", encoding="utf-8")
    reading = gather_market(
        catalogs=None,
        home=tmp_path,
        now_s=NOW_S,
        local=detect_device(),
        local_price_usd_per_hour=Decimal("0.1"),
        local_price_source="assumption",
    )
    offers = list(reading.offers())
    assert [offer.cloud for offer in offers] == ["local", *["slurm"] * 4, *["kubernetes"] * 4, "lambda"]
    assert (offers[0].price_source, offers[5].region) == ("assumption", "prod")


def test_parsed_catalogs_are_kept_where_it_is_said(tmp_path: Path) -> None:
    given, parsed = _catalogs(tmp_path / "mine"), tmp_path / "cache" / "catalogs"
    first, second = (gather_market(catalogs=given, home=tmp_path, now_s=NOW_S, parsed=parsed) for _ in range(2))
    assert list(first.offers()) == list(second.offers())
    assert [path.suffix for path in parsed.iterdir()] == [".json"]
