"""A catalog that SkyPilot has damaged: its last good copy takes its place, with its age and a note."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.good_copies import examine_catalog, keep_copy
from manager.prices.market import Market
from manager.prices.sky_catalog import default_catalog_dir, read_catalogs
from manager.prices.sources import gather_market
from tests.support.price_stage import NOW_S, catalog, write_catalog

AGE_S = 7200.0


def copies(folder: Path, cloud: str, text: str) -> Path:
    file = write_catalog(folder / "downloaded", cloud, text)
    place = folder / "copies"
    keep_copy(file, examine_catalog(file), folder=place, cloud=cloud, downloaded_at_s=NOW_S - AGE_S, source="there")
    return place


def gathered(folder: Path, good_copies: Path | None) -> Market:
    return gather_market(catalogs=None, home=folder, now_s=NOW_S, good_copies=good_copies)


def usd(market: Market, cloud: str) -> set[Decimal | None]:
    return {offer.price_usd_per_hour for offer in market.offers() if offer.cloud == cloud and not offer.use_spot}


@pytest.mark.parametrize("damaged", ["", catalog()[:-30] + "\n", "a page that asks to sign in\n"])
def test_the_copy_is_read_in_place_of_a_damaged_catalog(tmp_path: Path, damaged: str) -> None:
    own = default_catalog_dir(tmp_path)
    write_catalog(own, "aws", damaged)
    write_catalog(own, "lambda", catalog("1.5"))
    market = gathered(tmp_path, copies(tmp_path, "aws", catalog("0.7")))
    assert (usd(market, "aws"), usd(market, "lambda")) == ({Decimal("0.7")}, {Decimal("1.5")})
    offer = next(offer for offer in market.offers() if offer.cloud == "aws")
    assert (offer.price_age_s, offer.price_source) == (AGE_S, "kept copy of SkyPilot catalog v8/aws")
    (note,) = [note for note in market.notes if note.startswith("aws: ")]
    assert note.endswith("the last good copy of it is used, downloaded 2.0 h ago")


def test_a_whole_catalog_wins_over_its_copy(tmp_path: Path) -> None:
    write_catalog(default_catalog_dir(tmp_path), "aws", catalog("0.9"))
    assert usd(gathered(tmp_path, copies(tmp_path, "aws", catalog("0.7"))), "aws") == {Decimal("0.9")}


def test_a_copy_that_was_damaged_as_well_is_not_read(tmp_path: Path) -> None:
    own = default_catalog_dir(tmp_path)
    write_catalog(own, "aws", "")
    place = copies(tmp_path, "aws", catalog("0.7"))
    (place / "aws" / "vms.csv").write_text(catalog("0.01"))
    with pytest.raises(PriceError, match="is empty"):
        gathered(tmp_path, place)


def test_without_any_catalog_the_copies_come_before_list_prices(tmp_path: Path) -> None:
    market = gathered(tmp_path, copies(tmp_path, "aws", catalog("0.7")))
    assert usd(market, "aws") == {Decimal("0.7")}
    assert (
        market.notes[0] == "no price catalog in ~/.sky/catalogs/v8; the copies that the last refresh has kept are used"
    )
    assert "shipped list prices" in gathered(tmp_path, tmp_path / "none").notes[0]


def test_catalogs_that_were_named_are_read_alone(tmp_path: Path) -> None:
    write_catalog(tmp_path / "mine", "aws", "")
    place = copies(tmp_path, "aws", catalog("0.7"))
    with pytest.raises(PriceError, match="is empty"):
        gather_market(catalogs=tmp_path / "mine", home=tmp_path, now_s=NOW_S, good_copies=place)
    with pytest.raises(PriceError, match="is empty"):
        read_catalogs(tmp_path / "mine", now_s=NOW_S)
