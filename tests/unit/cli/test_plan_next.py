"""What `tunefare plan` says comes next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from manager.cli.main import main
from manager.planner.build import make_plan
from manager.planner.plan import Plan
from manager.service import planning
from tests.support.cli import write_run_file
from tests.support.plan_factory import make_cpu_offer, make_profile, make_spec, make_traces


@pytest.mark.parametrize(("task", "is_next"), [("causal-lm", True), ("speech-seq2seq", False)])
def test_a_run_comes_next_where_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str, is_next: bool
) -> None:
    def planned(*_: Any, **__: Any) -> Plan:
        spec = make_spec()
        return make_plan(
            spec=spec,
            profile=make_profile(spec=spec),
            traces=make_traces(spec=spec),
            offers=[make_cpu_offer()],
            created_at_s=0.0,
            notes=[],
        )

    monkeypatch.setattr(planning, "plan_job", planned)
    file = write_run_file(tmp_path, model="some/model", data=tmp_path, task=task)
    monkeypatch.setattr(sys, "argv", ["tunefare", "plan", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert ("next: tunefare run" in capsys.readouterr().err) == is_next
