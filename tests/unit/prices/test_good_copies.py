"""Which downloads are believed, and what is kept of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manager.errors import PriceError
from manager.prices.good_copies import CatalogFacts, examine_catalog, good_copy, keep_copy, reason_to_doubt
from tests.support.price_stage import HEADER, NOW_S, catalog, write_catalog


def kept(folder: Path) -> Path:
    file = write_catalog(folder / "new", "aws", catalog())
    keep_copy(file, examine_catalog(file), folder=folder / "kept", cloud="aws", downloaded_at_s=NOW_S, source="here")
    return folder / "kept"


def test_facts_of_a_catalog(tmp_path: Path) -> None:
    facts = examine_catalog(write_catalog(tmp_path, "aws", catalog(rows=6)))
    assert (facts.rows, facts.priced_rows) == (6, 6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (HEADER + "\n", "no row"),
        (catalog("nan", spot=""), "not one price"),
        (catalog("-1", spot="0"), "not one price"),
        (catalog()[:-25], "row"),
        (catalog().rstrip("\n"), "ends in the middle of a row"),
        ("<html>404</html>\n", "has no column"),
    ],
)
def test_damaged_catalogs_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PriceError, match=words):
        examine_catalog(write_catalog(tmp_path, "aws", text))


@pytest.mark.parametrize(
    ("rows", "priced", "words"),
    [
        (100, 100, None),
        (60, 60, None),
        (200, 200, None),
        (49, 49, "it has 49 rows, the last one had 100"),
        (100, 40, "40 of its 100 rows have a price"),
    ],
)
def test_a_catalog_that_has_shrunk_is_doubted(rows: int, priced: int, words: str | None) -> None:
    old = CatalogFacts(rows=100, priced_rows=100, sha256="")
    doubt = reason_to_doubt(CatalogFacts(rows=rows, priced_rows=priced, sha256=""), old)
    assert doubt is None if words is None else words in str(doubt)


def test_copy_has_its_date_its_source_and_its_content(tmp_path: Path) -> None:
    copy = good_copy(kept(tmp_path), "aws")
    assert copy is not None
    assert (copy.downloaded_at_s, copy.source, copy.facts.rows) == (NOW_S, "here", 4)
    assert copy.file.read_text() == catalog()
    assert copy.file.stat().st_mtime == NOW_S
    assert json.loads(copy.file.with_suffix(".json").read_text())["downloaded_at"] == "2027-01-15T08:00:00+00:00"


def test_a_later_copy_takes_the_place_of_the_first(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    file = write_catalog(tmp_path / "new", "aws", catalog("0.9"))
    keep_copy(file, examine_catalog(file), folder=folder, cloud="aws", downloaded_at_s=NOW_S + 9, source="there")
    copy = good_copy(folder, "aws")
    assert copy is not None
    assert (copy.downloaded_at_s, copy.file.read_text()) == (NOW_S + 9, catalog("0.9"))
    assert sorted(entry.name for entry in (folder / "aws").iterdir()) == ["vms.csv", "vms.json"]


@pytest.mark.parametrize("damage", ["catalog", "record", "no record", "no catalog"])
def test_a_copy_that_was_damaged_is_none(tmp_path: Path, damage: str) -> None:
    folder = kept(tmp_path)
    file, record = folder / "aws" / "vms.csv", folder / "aws" / "vms.json"
    if damage == "catalog":
        file.write_text(catalog("0.01"))
    elif damage == "record":
        record.write_text("{")
    else:
        (record if damage == "no record" else file).unlink()
    assert good_copy(folder, "aws") is None


def test_no_copy_can_be_kept_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    file = write_catalog(tmp_path, "aws", catalog())
    with pytest.raises(PriceError, match="no copy"):
        keep_copy(
            file, examine_catalog(file), folder=tmp_path / "kept", cloud="aws", downloaded_at_s=NOW_S, source="here"
        )
