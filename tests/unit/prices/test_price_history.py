"""When prices changed: one row per change, errors in sentences."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.prices.history import KEPT_S, PriceHistory

DAY_S = 86_400.0
KEY = "aws/us-east-1/g6.xlarge/L4:1/on-demand"


def prices(usd: str | None, **more: str) -> dict[str, Decimal | None]:
    return {KEY: None if usd is None else Decimal(usd), **{key: Decimal(text) for key, text in more.items()}}


def filled(file: Path, *days: str | None) -> PriceHistory:
    """One catalog a day."""
    history = PriceHistory(file)
    for number, usd in enumerate(days, start=1):
        history.record("aws", prices(usd), as_of_s=number * DAY_S)
    return history


def test_only_changes_are_kept(tmp_path: Path) -> None:
    with filled(tmp_path / "h.sqlite3", "0.80", "0.8", "0.88", "0.88", "0.66") as history:
        points = history.points(KEY)
    assert [(point.as_of_s / DAY_S, point.usd_per_hour) for point in points] == [
        (1, Decimal("0.8")),
        (3, Decimal("0.88")),
        (5, Decimal("0.66")),
    ]
    assert [point.change_share for point in points] == [None, pytest.approx(0.1), pytest.approx(-0.25)]


def test_unknown_and_gone_are_points_without_a_price(tmp_path: Path) -> None:
    with filled(tmp_path / "h.sqlite3", "1", None, "2") as history:
        assert history.record("aws", {}, as_of_s=4 * DAY_S) == 1
        assert history.record("aws", {}, as_of_s=5 * DAY_S) == 0
        points = history.points(KEY)
    assert [point.usd_per_hour for point in points] == [Decimal(1), None, Decimal(2), None]
    assert [point.change_share for point in points] == [None, None, None, None]


def test_number_of_changes_leaves_the_first_catalog_out(tmp_path: Path) -> None:
    with PriceHistory(tmp_path / "h.sqlite3") as history:
        assert not history.has("aws")
        assert history.record("aws", prices("1", b="2"), as_of_s=1.0) == 0
        assert history.has("aws")
        assert history.record("aws", prices("1", b="3", c="4"), as_of_s=2.0) == 2
        assert history.keys() == (KEY, "b", "c")


def test_clouds_do_not_touch_each_other(tmp_path: Path) -> None:
    with filled(tmp_path / "h.sqlite3", "1") as history:
        assert history.record("gcp", {"gcp/x": Decimal(1)}, as_of_s=9 * DAY_S) == 0
        assert [point.usd_per_hour for point in history.points(KEY)] == [Decimal(1)]


def test_an_older_catalog_changes_nothing(tmp_path: Path) -> None:
    with filled(tmp_path / "h.sqlite3", "1", "2") as history:
        assert history.record("aws", prices("9"), as_of_s=1.5 * DAY_S) == 0
        assert len(history.points(KEY)) == 2


def test_pruning_keeps_what_held_when_the_time_began(tmp_path: Path) -> None:
    with filled(tmp_path / "h.sqlite3", "1", "2", "3") as history:
        assert history.prune(now_s=KEPT_S + 2.5 * DAY_S) == 1
        assert [point.usd_per_hour for point in history.points(KEY)] == [Decimal(2), Decimal(3)]
        assert history.prune(now_s=KEPT_S + 99 * DAY_S) == 1
        assert [point.usd_per_hour for point in history.points(KEY)] == [Decimal(3)]


def test_pruning_forgets_offers_that_are_gone_since_long(tmp_path: Path) -> None:
    with filled(tmp_path / "h.sqlite3", "1") as history:
        history.record("aws", {"other": Decimal(1)}, as_of_s=2 * DAY_S)
        history.prune(now_s=KEPT_S + 2.5 * DAY_S)
        assert history.keys() == ("other",)


def test_a_locked_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.prices.history._LOCK_TIMEOUT_S", 0.1)
    file = tmp_path / "h.sqlite3"
    filled(file, "1").__exit__(None, None, None)
    other = sqlite3.connect(file)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StateError, match="locked") as caught, PriceHistory(file) as history:
            history.record("aws", prices("2"), as_of_s=9 * DAY_S)
    finally:
        other.close()
    assert "another tunefare" in str(caught.value.hint)


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "h.sqlite3"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(StateError, match="damaged") as caught:
        PriceHistory(file)
    assert "delete that file" in str(caught.value.hint)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "h.sqlite3"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateError, match="newer tunefare"):
        PriceHistory(file)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StateError, match="cannot be used"):
        PriceHistory(tmp_path / "cache" / "h.sqlite3")
