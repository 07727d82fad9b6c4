"""The invented market holds what it says, and the reader finds every trap that was planted in it."""

from pathlib import Path

import pytest

from manager.prices.sky_catalog import read_catalogs
from tests.support.synthetic_market import SyntheticMarket, write_synthetic_catalogs


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> SyntheticMarket:
    return write_synthetic_catalogs(tmp_path_factory.mktemp("synthetic") / "v8", offers=6_000)


def test_same_arguments_write_the_same_bytes(market: SyntheticMarket, tmp_path: Path) -> None:
    again = write_synthetic_catalogs(tmp_path / "v8", offers=6_000)
    files = sorted(path.relative_to(market.folder) for path in market.folder.rglob("*.csv"))
    assert len(files) == 14
    for file in files:
        assert (market.folder / file).read_bytes() == (again.folder / file).read_bytes()


def test_it_holds_as_many_offers_as_were_asked_for(market: SyntheticMarket) -> None:
    reading = read_catalogs(market.folder, now_s=4e9)
    found = len(list(reading.offers()))
    assert market.offers == 6_000
    assert abs(found - market.offers) < market.offers * 0.01


def test_every_planted_trap_is_counted_by_its_rule(market: SyntheticMarket) -> None:
    counted = {(one.cloud, one.rule): one.count for one in read_catalogs(market.folder, now_s=4e9).audit}
    assert set(market.planted) == {"aws", "azure", "ibm", "oci"}
    for cloud, traps in market.planted.items():
        assert {rule: counted.get((cloud, rule), 0) for rule in traps} == traps
    assert counted["gcp", "placeholder_price"] > 0
    assert counted["vast", "zero_price"] > 0
