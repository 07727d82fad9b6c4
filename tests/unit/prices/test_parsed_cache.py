"""Parsed catalogs: the same market from the cache, another one as soon as the file is another, damage costs nothing."""

import json
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices import sky_catalog
from manager.prices.market import Market
from manager.prices.sky_catalog import read_catalogs
from tests.support.synthetic_market import write_synthetic_catalogs

HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,SpotPrice,Region"
NOW_S = 2_000_000_000.0


def write(folder: Path, price: str, *, changed_s: float = NOW_S - 600) -> Path:
    path = folder / "lambda" / "vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}\ngpu_1x_a10,A10,1.0,30.0,200.0,{price},,us-east-1\n", encoding="utf-8")
    os.utime(path, (changed_s, changed_s))
    return path


def read(tmp_path: Path, *, now_s: float = NOW_S) -> Market:
    return read_catalogs(tmp_path / "v8", now_s=now_s, cache=tmp_path / "cache" / "parsed")


def prices(market: Market) -> list[str]:
    return [str(offer.price_usd_per_hour) for offer in market.offers()]


@pytest.fixture
def _no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reading must not open the catalog."""

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(sky_catalog, "read_catalog_file", refuse)


def test_a_whole_market_comes_back_as_it_was(tmp_path: Path) -> None:
    write_synthetic_catalogs(tmp_path / "v8", offers=6_000)
    first, second = read(tmp_path, now_s=4e9), read(tmp_path, now_s=4e9)
    fresh = read_catalogs(tmp_path / "v8", now_s=4e9)
    assert len(list((tmp_path / "cache" / "parsed").iterdir())) == 14
    assert asdict(first) == asdict(second) == asdict(fresh)
    assert [type(quote) for quote in second.rentals[0].quotes] == [type(quote) for quote in fresh.rentals[0].quotes]
    assert Counter(second.offers()) == Counter(fresh.offers())


def test_second_reading_does_not_open_the_catalog(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write(tmp_path / "v8", "1.29")
    first = read(tmp_path)
    request.getfixturevalue("_no_reader")
    assert prices(read(tmp_path)) == prices(first) == ["1.29000"]


def test_age_is_that_of_the_catalog(tmp_path: Path) -> None:
    write(tmp_path / "v8", "1.29")
    assert read(tmp_path).rentals[0].price_age_s == 600
    assert read(tmp_path, now_s=NOW_S + 3600).rentals[0].price_age_s == 4200


def test_changed_catalog_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path / "v8", "1.29")
    read(tmp_path)
    write(tmp_path / "v8", "1.31", changed_s=NOW_S - 300)
    assert prices(read(tmp_path)) == ["1.31000"]


def test_catalog_changed_this_second_is_not_kept(tmp_path: Path) -> None:
    write(tmp_path / "v8", "1.29", changed_s=NOW_S - 1)
    read(tmp_path)
    write(tmp_path / "v8", "1.31", changed_s=NOW_S - 1)
    assert prices(read(tmp_path)) == ["1.31000"]


def test_catalog_that_is_damaged_now_is_not_answered_from_the_cache(tmp_path: Path) -> None:
    path = write(tmp_path / "v8", "1.29")
    read(tmp_path)
    path.write_text("nothing", encoding="utf-8")
    with pytest.raises(PriceError, match="no column"):
        read(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "json", "shape", "folder"])
def test_damaged_entry_is_passed_over_and_written_again(tmp_path: Path, damage: str) -> None:
    write(tmp_path / "v8", "1.29")
    read(tmp_path)
    (entry,) = (tmp_path / "cache" / "parsed").iterdir()
    good = entry.read_bytes()
    entry.unlink()
    if damage == "folder":
        entry.mkdir()
    else:
        head = good.split(b"\n")[0]
        entry.write_bytes(
            {
                "cut": good[:-5],
                "bit": good.replace(b"129000", b"129001"),
                "empty": b"",
                "json": b"{\n{",
                "shape": json.dumps({**json.loads(head), "crc32": 223132457}).encode() + b"\n{}",
            }[damage]
        )
    assert prices(read(tmp_path)) == ["1.29000"]
    if damage != "folder":
        assert entry.read_bytes() == good
    assert not list(entry.parent.glob(".*"))


def test_other_reader_makes_an_entry_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "v8", "1.29")
    read(tmp_path)
    (entry,) = (tmp_path / "cache" / "parsed").iterdir()
    before = entry.read_bytes()
    monkeypatch.setattr("manager.prices.parsed_cache._reader", lambda: 1)
    assert prices(read(tmp_path)) == ["1.29000"]
    assert entry.read_bytes() != before


def test_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    write(tmp_path / "v8", "1.29")
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    assert prices(read(tmp_path)) == ["1.29000"]


def test_two_folders_with_the_same_cloud_have_their_own_entries(tmp_path: Path) -> None:
    write(tmp_path / "v8", "1.29")
    write(tmp_path / "other", "2.50")
    cache = tmp_path / "cache"
    for _ in range(2):
        for folder, price in (("v8", "1.29000"), ("other", "2.50000")):
            assert prices(read_catalogs(tmp_path / folder, now_s=NOW_S, cache=cache)) == [price]
