"""What doctor learns of SkyPilot, well, ill and absent."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from manager.launch.sky_check import SkyCheck, check_sky
from manager.launch.sky_worker import SkyWorker

FAKE = Path(__file__).with_name("sky_fake_worker.py")
WELL = {"version": "0.14.1", "api_server": "healthy", "api_server_is_local": True, "clouds": ["AWS", "Slurm"]}


@pytest.fixture(autouse=True)
def _sky_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def ask(folder: Path, move: dict[str, Any]) -> SkyCheck:
    (folder / "scenario.json").write_text(json.dumps({"check": [move]}))
    return check_sky(worker=SkyWorker(command=(sys.executable, str(FAKE), str(folder))), timeout_s=3.0)


def test_a_well_one(tmp_path: Path) -> None:
    check = ask(tmp_path, {"result": WELL})
    assert check.clouds == ("AWS", "Slurm")
    assert check.problem is None


def test_a_server_that_does_not_run_yet_is_no_problem_and_its_clouds_are_unknown(tmp_path: Path) -> None:
    check = ask(tmp_path, {"result": {**WELL, "api_server": "unhealthy", "clouds": None}})
    assert check.problem is None
    assert check.clouds is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clouds": []}, "no cloud is enabled"),
        ({"api_server": "needs_auth"}, "needs_auth"),
        ({"api_server_is_local": False, "api_server": "unhealthy"}, "another machine"),
        (
            {"api_server_is_local": False, "api_server": "needs_auth", "endpoint": "http://me:secret@sky.team:46580"},
            "http://me:***@sky.team:46580",
        ),
    ],
)
def test_problems_come_with_a_hint(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    check = ask(tmp_path, {"result": {**WELL, **change}})
    assert words in str(check.problem)
    assert check.hint


def test_a_server_on_another_machine_that_answers_is_no_problem_of_its_own(tmp_path: Path) -> None:
    check = ask(tmp_path, {"result": {**WELL, "api_server_is_local": False, "endpoint": "http://sky.team:46580"}})
    assert check.problem is None
    assert check.api_server_is_local is False


def test_a_server_that_wants_a_login_names_the_command(tmp_path: Path) -> None:
    remote = {"api_server_is_local": False, "api_server": "needs_auth", "endpoint": "http://sky.team:46580"}
    assert "sky api login -e http://sky.team:46580" in str(ask(tmp_path, {"result": {**WELL, **remote}}).hint)


@pytest.mark.parametrize("move", [{"hang": True}, {"die": True}, {"error": ["ImportError", "broken package"]}])
def test_whatever_happens_is_an_answer(tmp_path: Path, move: dict[str, Any]) -> None:
    check = ask(tmp_path, move)
    assert check.problem is not None
    assert check.clouds is None


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check = check_sky()
    assert not check.installed
    assert "tunefare[sky]" in str(check.hint)
