"""A plan where the ledger that people share does not answer: it is made, and says what it does not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.service.budgets import launch_cap
from manager.service.context import open_context
from manager.service.planning import plan_job
from manager.service.starting import load_spec
from manager.spec.model import RunSpec
from tests.support.cli import write_news, write_run_file

pytest.importorskip("psycopg")
NOBODY = "postgresql://ann@127.0.0.1:1/runs"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    monkeypatch.setenv("TUNEFARE_LEDGER_URL", NOBODY)
    file = write_run_file(tmp_path, model="google-bert/bert-base-uncased", data=write_news(tmp_path))
    return load_spec(file)


def test_it_is_planned_with_a_note_and_not_launched(spec: RunSpec) -> None:
    context = open_context()
    plan = plan_job(context, spec)
    assert plan.choice is not None
    (note,) = [note for note in plan.notes if "does not answer" in note]
    assert NOBODY in note
    assert "nothing of own runs and budgets" in note
    assert plan.budget_cap is None
    with pytest.raises(StateError, match="does not answer"):
        launch_cap(context, plan, None)


def test_the_command_says_so_and_prints_the_plan(tmp_path: Path, spec: RunSpec) -> None:
    command = [sys.executable, "-m", "manager.cli", "plan", "tunefare.yaml", "--top", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "does not answer" in " ".join((done.stdout + done.stderr).split())
    assert "Is the server running" not in done.stdout + done.stderr
    assert spec.name in done.stdout
