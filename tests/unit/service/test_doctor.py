"""What doctor says of SkyPilot whose API server is on another machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.launch.sky_check import SkyCheck
from manager.prices.market import Market
from manager.service import doctor
from tests.support.contexts import make_context
from tests.support.market_factory import random_offers
from tests.unit.service.test_launch_terms import with_setting

REMOTE = SkyCheck(
    installed=True,
    version="0.14.1",
    api_server="healthy",
    endpoint="http://sky.team:46580",
    api_server_is_local=False,
    clouds=("AWS",),
    problem=None,
    hint=None,
)


@pytest.mark.parametrize(
    ("bucket", "state", "words"),
    [("", "missing", "cannot be fetched"), ("s3://team/runs", "ok", "come home through s3://team/runs")],
)
def test_a_remote_api_server_needs_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str, state: str, words: str
) -> None:
    monkeypatch.setattr(doctor, "check_sky", lambda: REMOTE)
    context = with_setting(make_context(tmp_path), "bucket", bucket)
    check = next(check for check in doctor.examine(context) if check.name == "SkyPilot")
    assert check.state == state
    assert "http://sky.team:46580" in check.detail
    assert words in check.detail
    assert (check.hint is None) == bool(bucket)


@pytest.mark.parametrize("is_local", [True, False])
def test_an_api_server_at_rest_is_no_trouble_where_it_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    at_rest = replace(REMOTE, api_server="unhealthy", api_server_is_local=is_local)
    monkeypatch.setattr(doctor, "check_sky", lambda: at_rest)
    check = next(check for check in doctor.examine(make_context(tmp_path)) if check.name == "SkyPilot")
    assert ("at rest (the first launch starts it)" in check.detail) == is_local
    assert ("unhealthy" in check.detail) == (not is_local)


@pytest.mark.parametrize(("days", "state"), [(29, "ok"), (400, "missing")])
def test_prices_of_long_ago_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, state: str) -> None:
    monkeypatch.setattr(doctor, "check_sky", lambda: REMOTE)
    aged = [replace(offer, price_age_s=days * 86400.0) for offer in random_offers(1, 20)]
    monkeypatch.setattr(doctor, "gather_market", lambda **_: Market.of_offers(aged))
    check = next(check for check in doctor.examine(make_context(tmp_path)) if check.name == "prices")
    assert check.state == state
    assert (f"up to {days} days old" in check.detail) == (state == "missing")
    assert ("tunefare prices --refresh" in str(check.hint)) == (state == "missing")


def test_a_local_api_server_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_sky", lambda: replace(REMOTE, api_server_is_local=True))
    check = next(check for check in doctor.examine(make_context(tmp_path)) if check.name == "SkyPilot")
    assert check.state == "ok"
    assert "another machine" not in check.detail
