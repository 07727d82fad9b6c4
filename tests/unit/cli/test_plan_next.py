"""What `tunefare plan` says comes next."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manager.cli.main import main
from tests.support.cli import write_run_file
from tests.support.market_factory import set_open_job
from tests.support.plan_factory import make_cpu_offer, make_spec


@pytest.mark.parametrize(("task", "is_next"), [("causal-lm", True), ("speech-seq2seq", False)])
def test_a_run_comes_next_where_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str, is_next: bool
) -> None:
    set_open_job(monkeypatch, [make_cpu_offer()], replace(make_spec(), task=task))
    file = write_run_file(tmp_path, model="some/model", data=tmp_path, task=task)
    monkeypatch.setattr(sys, "argv", ["tunefare", "plan", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert ("next: tunefare run" in capsys.readouterr().err) == is_next
