"""`tunefare models` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.in_process import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def test_a_published_name_finds_what_it_means(shell: Shell) -> None:
    title, first, *_ = shell.good("models", "llama", "3", "8b").splitlines()
    assert title.split() == ["model", "size", "tasks", "from"]
    assert "8B" in first
    assert "7.5 B parameters, head apart" in first


def test_only_models_for_a_task_and_as_many_as_are_asked_for(shell: Shell) -> None:
    said = json.loads(shell.good("models", "--task", "image-classification", "--limit", "3", "--json"))
    assert len(said["models"]) == 3
    assert all("image-classification" in model["tasks"] for model in said["models"])


def test_words_that_no_model_has_are_told(shell: Shell) -> None:
    done = shell.run("models", "no-such-model-anywhere")
    assert (done.code, done.stdout) == (0, "")
    assert "no model has these words" in done.stderr
