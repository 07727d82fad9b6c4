"""Hints name the command of README, which works in a clone and keeps the extras that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.errors import how_to_install

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.parametrize(
    ("extra", "present", "command"),
    [
        ("local", (), "uv tool install '.[local]'"),
        ("local", ("torch",), "uv tool install '.[local]'"),
        ("sky", ("torch",), "uv tool install '.[local,sky]'"),
        ("demo", ("torch", "sky"), "uv tool install '.[local,sky,demo]'"),
        ("demo", ("torch", "boto3", "google.auth"), "uv tool install '.[local,demo]'"),
        ("gcp", ("boto3",), "uv tool install '.[aws,gcp]'"),
        ("aws", ("sky", "google.auth"), "uv tool install '.[sky,aws]'"),
        ("png", ("torch",), "uv tool install '.[local,png]'"),
    ],
)
def test_the_command(extra: str, present: tuple[str, ...], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in present else None)
    assert how_to_install(extra) == f"install tunefare[{extra}]: `{command}` in your clone"


def test_readme_installs_by_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert how_to_install("local").split("`")[1] in README.read_text(encoding="utf-8")
