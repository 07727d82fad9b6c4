"""Installed for planning only, on each supported Python that this machine has: no torch, and a plan all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import write_news, write_run_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that has to succeed; gives what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_plan_without_the_training_libraries(tmp_path: Path, version: str) -> None:
    found = subprocess.run([UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip(f"this machine has no Python {version}")
    venv = tmp_path / "venv"
    run(UV, "venv", "--quiet", "--python", found.stdout.strip(), venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--constraint",
        ROOT / "constraints.txt",
        ROOT,
        cwd=tmp_path,
    )
    installed = {
        row["name"] for row in json.loads(run(UV, "pip", "list", "--format=json", "--python", python, cwd=tmp_path))
    }
    assert "tunefare" in installed
    assert not installed & {"torch", "transformers", "skypilot", "pandas", "boto3"}

    write_run_file(tmp_path, model="bert-base-uncased", data=write_news(tmp_path))
    text = run(venv / "bin" / "tunefare", "plan", "--json", cwd=tmp_path, TUNEFARE_HOME=str(tmp_path / "home"))
    plan = json.loads(text)
    assert plan["chosen"] == 0
    assert plan["profile"]["steps"] == 24
    assert "character" in plan["profile"]["data"]["basis"]
