"""`tunefare data` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import write_news, write_run_file
from tests.support.in_process import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A command line in a folder with a data set."""
    write_news(tmp_path)
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def test_a_file_is_shown_with_its_labels_and_lengths(shell: Shell) -> None:
    said = " ".join(shell.good("data", "news.csv").split())
    assert "192 training · 24 validation · 24 test samples" in said
    assert "lengths in tokens: mean" in said
    assert "33.3%" in said


def test_a_run_file_names_the_data_itself(shell: Shell) -> None:
    write_run_file(shell.folder, model="google-bert/bert-base-uncased", data="news.csv")
    answer = json.loads(shell.good("data", "--json", "--rows", "2"))
    assert answer["schema"] == 1
    assert (answer["train_samples"], len(answer["rows"]), answer["columns"]) == (192, 2, ["text", "label"])
    assert {one["label"]: one["samples"] for one in answer["labels"]} == {"money": 64, "science": 64, "sport": 64}
    assert answer["lengths"]["max_length"] == 32
    assert answer["is_measured"] is False
    refused = shell.run("data", "tunefare.yaml", "--task", "causal-lm")
    assert refused.code == 2
    assert "leave the options out" in refused.stderr


def test_columns_are_named_for_data_alone(shell: Shell) -> None:
    done = shell.run("data", "news.csv", "--columns", "text=body")
    assert (done.code, done.stdout) == (2, "")
    assert "body" in done.stderr
    assert "hint: " in done.stderr
    assert shell.run("data", "news.csv", "--columns", "body").code == 2
    assert json.loads(shell.good("data", "news.csv", "--columns", "text=text,label=label", "--json"))["rows"]


def test_data_that_is_not_there_is_told(shell: Shell) -> None:
    done = shell.run("data", "gone.csv")
    assert done.code == 2
    assert "gone.csv" in done.stderr
