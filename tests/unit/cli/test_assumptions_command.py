"""`tunefare assumptions`: what holds, from where, and the file to change it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from manager.cli.main import main
from manager.planner.assumptions import shipped_assumptions
from manager.service.assumptions import read_assumptions
from manager.service.context import open_context


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    monkeypatch.setenv("TUNEFARE_HOME", str(place))
    monkeypatch.delenv("TUNEFARE_ASSUMPTIONS", raising=False)
    return place


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tunefare", "assumptions", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def _json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert _run(monkeypatch, *arguments, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def test_all_rows_are_listed(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer = _json(monkeypatch, capsys)
    assert (answer["schema"], answer["file_exists"]) == (1, False)
    assert answer["file"] == str(home / "assumptions.toml")
    assert len(answer["assumptions"]) == len(shipped_assumptions().rows)
    assert not home.exists()


def test_one_name_on_one_cloud(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = _json(monkeypatch, capsys, "boot", "--cloud", "AWS")["assumptions"]
    assert (row["name"], row["cloud"], row["expected"], row["unit"]) == ("boot", "aws", 3, "min")
    (row,) = _json(monkeypatch, capsys, "spot_wait", "--cloud", "aws")["assumptions"]
    assert row["cloud"] == "*"


def test_the_table_shows_value_unit_date_origin_and_source(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    home.mkdir()
    (home / "assumptions.toml").write_text('[boot.gcp]\nexpected = 2\nsource = "five launches"\n')
    assert _run(monkeypatch, "boot") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "boot, min"
    assert "gcp 2 own file five launches" in lines
    assert "aws 3 (1.5 to 6) 2026-11-21 shipped assumption: EC2 instance with SkyPilot's image" in lines


@pytest.mark.parametrize(
    ("arguments", "hint"), [(["bot"], "`boot`"), (["--cloud", "asw"], "`aws`"), (["boot", "--write"], "alone")]
)
def test_a_wrong_name_cloud_or_use_is_a_usage_error(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    hint: str,
) -> None:
    assert _run(monkeypatch, *arguments) == 2
    assert hint in capsys.readouterr().err


def test_the_file_to_edit_is_written_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "--write") == 0
    file = home / "assumptions.toml"
    assert "# [boot.aws]" in file.read_text()
    assert read_assumptions(open_context()).rows == shipped_assumptions().rows
    file.write_text("[boot]\nexpected = 9\n")
    assert _run(monkeypatch, "--write") == 2
    assert file.read_text() == "[boot]\nexpected = 9\n"
    assert "exists already" in capsys.readouterr().err


def test_the_setting_names_another_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "team" / "assumptions.toml"
    monkeypatch.setenv("TUNEFARE_ASSUMPTIONS", str(other))
    assert _run(monkeypatch) == 2
    assert "is not there" in capsys.readouterr().err
    assert _run(monkeypatch, "--write") == 0
    other.write_text("[teardown]\nexpected = 0\n")
    assert read_assumptions(open_context()).of("teardown", "aws").origin == str(other)


def test_a_file_that_is_no_text_is_a_clear_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "assumptions.toml").write_bytes(b"\xff\xfe")
    assert _run(monkeypatch) == 2
    assert "cannot be read" in capsys.readouterr().err
