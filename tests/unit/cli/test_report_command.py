"""`tunefare report` as it is typed: several files at once, another metric, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.contexts import make_context
from tests.support.fonts import needs_font
from tests.support.in_process import Shell
from tests.support.ledger_runs import keep_runs
from tests.support.report_factory import make_run


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Two ended runs in the ledger."""
    keep_runs(
        make_context(tmp_path),
        make_run(run_id="cheap", price="0.8", final=0.93),
        make_run(run_id="good", price="2", final=0.97),
    )
    return Shell(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


@needs_font
def test_pictures_are_written_and_told(shell: Shell) -> None:
    done = shell.run("report", "cheap", "good", "--svg", "a.svg", "--png", "a.png")
    assert done.code == 0
    assert done.stderr.splitlines() == ["picture: a.svg", "picture: a.png"]
    assert "<svg" in (shell.folder / "a.svg").read_text()
    assert (shell.folder / "a.png").read_bytes().startswith(b"\x89PNG")


def test_another_metric_in_the_terminal_and_in_json(shell: Shell) -> None:
    assert "Cost against macro F1" in shell.good("report", "cheap", "good", "--metric", "f1_macro")
    found = json.loads(shell.good("report", "cheap", "good", "--metric", "f1_macro", "--json"))
    assert found["schema"] == 1
    assert [run["mark"] for run in found["cost_accuracy"]["runs"]] == ["A", "B"]
    assert found["cost_accuracy"]["metric"] == "f1_macro"
    assert found["reports"][0]["waterfall"]["steps"][0]["name"] == "provisioning"


def test_a_metric_that_there_is_not_is_refused(shell: Shell) -> None:
    done = shell.run("report", "cheap", "--metric", "f2")
    assert done.code == 2
    assert "there is no metric `f2`" in done.stderr
