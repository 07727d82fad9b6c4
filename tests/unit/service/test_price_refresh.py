"""Refreshing catalogs with a player in SkyPilot's place: what is believed, what stays, what is said."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, UsageError
from manager.launch import sky_backend
from manager.launch.sky_wire import Reply
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from manager.prices.good_copies import good_copy
from manager.prices.history import PriceHistory
from manager.prices.sky_catalog import default_catalog_dir
from manager.service.price_refresh import (
    CANCELLED,
    FAILED,
    KEPT,
    MAIN_CLOUDS,
    UNCHANGED,
    UPDATED,
    Refreshed,
    refresh_prices,
)
from tests.support.price_stage import NOW_S, catalog, stage, write_catalog

KEY = "aws/us-east-1/g6.xlarge/L4:1/on-demand"


class Player(SkyWorker):
    """Downloads what it was given; installs as the real worker does, where filelock is there."""

    def __init__(self, folder: Path, **answers: str | SkyPilotError) -> None:
        super().__init__()
        self.answers: dict[str, str | SkyPilotError] = dict(answers)
        self.folder = folder
        self.asked: list[str] = []

    def call(
        self, op: str, args: dict[str, Any], *, timeout_s: float, give_up: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        if op == "install_catalog":
            pytest.importorskip("filelock")
            return sky_backend.install_catalog(args, Reply.__new__(Reply))
        cloud = args["cloud"]
        self.asked.append(cloud)
        answer = self.answers.get(cloud, SkyPilotError("HTTPError", "404 Client Error: Not Found for url: x"))
        if isinstance(answer, SkyPilotError):
            raise answer
        return {"path": str(write_catalog(self.folder / "downloaded", cloud, answer)), "source": "here", "rows": 1}


def own(folder: Path) -> Path:
    return default_catalog_dir(folder / "user")


def refresh(folder: Path, answer: str | SkyPilotError, *, now_s: float = NOW_S) -> Refreshed:
    worker = Player(folder, aws=answer)
    (line,) = refresh_prices(stage(folder, clock=lambda: now_s), ("AWS",), worker=worker)
    return line


def test_first_download_is_installed_kept_and_written_down(tmp_path: Path) -> None:
    line = refresh(tmp_path, catalog())
    assert (line.cloud, line.state, line.rows, line.changed_prices) == ("aws", UPDATED, 4, None)
    assert (own(tmp_path) / "aws" / "vms.csv").read_text() == catalog()
    assert (own(tmp_path) / ".meta" / "aws" / "vms.csv.md5").exists()
    copy = good_copy(stage(tmp_path).home.prices_dir, "aws")
    assert copy is not None
    assert copy.downloaded_at_s == NOW_S
    assert list(stage(tmp_path).home.cache_dir.glob("refresh-*")) == []


def test_changed_prices_are_counted_and_kept_in_the_history(tmp_path: Path) -> None:
    refresh(tmp_path, catalog("0.8"))
    line = refresh(tmp_path, catalog("0.9"), now_s=NOW_S + 86_400)
    assert (line.state, line.changed_prices) == (UPDATED, 4)
    with PriceHistory(stage(tmp_path).home.price_history_file) as history:
        assert [str(point.usd_per_hour) for point in history.points(KEY)] == ["0.8", "0.9"]


def test_the_same_catalog_again_is_unchanged_and_of_today(tmp_path: Path) -> None:
    refresh(tmp_path, catalog())
    line = refresh(tmp_path, catalog(), now_s=NOW_S + 60)
    assert (line.state, line.changed_prices) == (UNCHANGED, 0)


def test_a_catalog_that_is_up_to_date_begins_the_history(tmp_path: Path) -> None:
    file = write_catalog(own(tmp_path), "aws", catalog("0.7"), age_s=86_400)
    checksum = own(tmp_path) / ".meta" / "aws" / "vms.csv.md5"
    checksum.parent.mkdir(parents=True)
    checksum.write_text(sky_backend._md5(file.read_bytes()))
    os.utime(checksum, (NOW_S, NOW_S))
    assert refresh(tmp_path, catalog("0.7")).state == UNCHANGED
    with PriceHistory(stage(tmp_path).home.price_history_file) as history:
        assert [(str(point.usd_per_hour), point.as_of_s - NOW_S) for point in history.points(KEY)] == [("0.7", -86_400)]


def test_what_skypilot_had_before_begins_the_history(tmp_path: Path) -> None:
    file = write_catalog(own(tmp_path), "aws", catalog("0.7"), age_s=86_400)
    checksum = own(tmp_path) / ".meta" / "aws" / "vms.csv.md5"
    checksum.parent.mkdir(parents=True)
    checksum.write_text(sky_backend._md5(file.read_bytes()))
    os.utime(checksum, (NOW_S - 172_800, NOW_S - 172_800))
    refresh(tmp_path, catalog("0.9"))
    with PriceHistory(stage(tmp_path).home.price_history_file) as history:
        points = history.points(KEY)
    assert [(str(point.usd_per_hour), point.as_of_s - NOW_S) for point in points] == [("0.7", -172_800), ("0.9", 0)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (catalog()[:-30] + "\n", "row 4"),
        (catalog().rstrip(), "the downloaded catalog ends in the middle of a row"),
        (catalog(rows=1), "not believed: it has 1 rows, the last one had 4"),
        ("<html>sign in to the network</html>\n", "has no column"),
        (
            SkyPilotError("HTTPError", "404 Client Error: Not Found for url: http://x"),
            "the server answered 404 Not Found",
        ),
        (SkyPilotError("Timeout", "no answer"), "no answer within 120 s"),
        (SkyPilotError("ConnectionError", "refused\nmore"), "ConnectionError: refused"),
    ],
)
def test_a_bad_download_leaves_everything_as_it_is(tmp_path: Path, answer: str | SkyPilotError, words: str) -> None:
    refresh(tmp_path, catalog())
    line = refresh(tmp_path, answer, now_s=NOW_S + 3600)
    assert line.state == FAILED
    assert words in line.detail
    assert "SkyPilot's catalog stays" in line.detail
    assert (own(tmp_path) / "aws" / "vms.csv").read_text() == catalog()
    assert good_copy(stage(tmp_path).home.prices_dir, "aws") is not None


def test_a_failure_with_a_damaged_own_catalog_names_the_good_copy(tmp_path: Path) -> None:
    refresh(tmp_path, catalog())
    write_catalog(own(tmp_path), "aws", "damaged")
    line = refresh(tmp_path, SkyPilotError("Timeout", "x"), now_s=NOW_S + 7200)
    assert "the good copy is used, downloaded 2.0 h ago" in line.detail


def test_a_damaged_own_catalog_is_replaced(tmp_path: Path) -> None:
    write_catalog(own(tmp_path), "aws", catalog()[:-30])
    assert refresh(tmp_path, catalog()).state == UPDATED
    assert (own(tmp_path) / "aws" / "vms.csv").read_text() == catalog()


def test_a_catalog_changed_by_hand_stays(tmp_path: Path) -> None:
    refresh(tmp_path, catalog())
    write_catalog(own(tmp_path), "aws", catalog("0.5"))
    line = refresh(tmp_path, catalog("0.9"), now_s=NOW_S + 60)
    assert (line.state, line.changed_prices) == (KEPT, None)
    assert "changed by hand" in line.detail
    assert (own(tmp_path) / "aws" / "vms.csv").read_text() == catalog("0.5")


def test_a_damaged_history_does_not_fail_a_refresh(tmp_path: Path) -> None:
    context = stage(tmp_path)
    context.home.ensure()
    context.home.price_history_file.write_bytes(b"nonsense" * 1000)
    line = refresh(tmp_path, catalog())
    assert line.state == UPDATED
    assert "no history was written" in line.detail
    assert "damaged" in line.detail


def test_without_names_the_main_clouds_and_those_here_are_asked(tmp_path: Path) -> None:
    write_catalog(own(tmp_path), "verda", catalog())
    worker = Player(tmp_path, gcp=catalog())
    told: list[str] = []
    lines = refresh_prices(stage(tmp_path), worker=worker, tell=told.append)
    assert worker.asked == sorted([*MAIN_CLOUDS, "verda"])
    assert {line.cloud: line.state for line in lines}["aws"] == FAILED
    assert len(told) == len(worker.asked)


def test_a_cloud_that_is_spelt_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`asw`") as caught:
        refresh_prices(stage(tmp_path), ("asw",), worker=Player(tmp_path))
    assert "did you mean `aws`" in str(caught.value.hint)


def test_without_skypilot_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="not installed") as caught:
        refresh_prices(stage(tmp_path))
    assert "tunefare[sky]" in str(caught.value.hint)


def test_a_cache_without_the_copy_is_no_failure(tmp_path: Path) -> None:
    refresh(tmp_path, catalog())
    shutil.rmtree(stage(tmp_path).home.prices_dir)
    assert refresh(tmp_path, catalog("0.9"), now_s=NOW_S + 9).state == UPDATED


def test_a_cancelled_refresh_keeps_what_is_done_and_says_what_is_used(tmp_path: Path) -> None:
    worker = Player(tmp_path, aws=catalog(), gcp=catalog())
    write_catalog(own(tmp_path), "gcp", catalog(), age_s=7200)
    context = stage(tmp_path)
    lines = refresh_prices(
        context,
        ("aws", "gcp"),
        worker=worker,
        is_cancelled=lambda: good_copy(context.home.prices_dir, "aws") is not None,
    )
    assert [(line.cloud, line.state) for line in lines] == [("aws", UPDATED), ("gcp", CANCELLED)]
    assert worker.asked == ["aws"]
    assert lines[1].detail == "not asked; SkyPilot's catalog stays, downloaded 2.0 h ago"


def test_a_wait_for_a_download_can_be_cancelled(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    asked = iter([False, False, True])
    with contextlib.closing(SkyWorker(command=command)) as worker:
        (line,) = refresh_prices(stage(tmp_path), ("aws",), worker=worker, is_cancelled=lambda: next(asked, True))
    assert line.state == CANCELLED
    assert line.detail.startswith("cancelled; there is no other catalog")
