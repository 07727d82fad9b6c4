"""What doctor says of SkyPilot whose API server is on another machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.launch.sky_check import SkyCheck
from manager.service import doctor
from tests.support.contexts import make_context
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


def test_a_local_api_server_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_sky", lambda: replace(REMOTE, api_server_is_local=True))
    check = next(check for check in doctor.examine(make_context(tmp_path)) if check.name == "SkyPilot")
    assert check.state == "ok"
    assert "another machine" not in check.detail
