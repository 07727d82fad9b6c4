"""`tunefare push`: nothing goes without a confirmed target, and the token is in no argument and no output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manager.cli.main import app
from manager.errors import StateError, UsageError
from manager.service import pushing
from tests.support.followed_run import FollowedRun
from tests.support.hub_stage import TOKEN, HubStage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FollowedRun:
    made = FollowedRun(folder=tmp_path)
    made.run()
    monkeypatch.setenv("TUNEFARE_HOME", str(made.context.home.root))
    model = made.run_dir / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "README.md").write_text("# tuned\n")
    return made


def test_nothing_goes_without_a_confirmation(run: FollowedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubStage() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        done = CliRunner().invoke(app, ["push", run.run_id, "team/tuned"])
        assert isinstance(done.exception, UsageError)
        assert f"goes to {hub.url}/team/tuned (private)" in done.output
        assert hub.requests == []


def test_a_confirmed_push_arrives(run: FollowedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubStage() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        done = CliRunner().invoke(app, ["push", run.run_id, "team/tuned", "--public", "--yes", "--json"])
        assert done.exit_code == 0, done.output
        assert "PUBLIC" in done.stderr
        assert json.loads(done.stdout)["url"] == f"{hub.url}/team/tuned"
        assert hub.repositories["team/tuned"]["files"]["model.safetensors"] == b"weights"
        assert hub.repositories["team/tuned"]["private"] is False
        assert TOKEN not in done.output


def test_a_name_that_is_none_is_refused(run: FollowedRun) -> None:
    with pytest.raises(UsageError, match="no repository"):
        pushing.push_order(run.context, run.run_id, "x; curl evil", private=True)


def test_a_run_without_an_adapter_says_so(run: FollowedRun) -> None:
    with pytest.raises(StateError, match="no adapter"):
        pushing.push_order(run.context, run.run_id, "team/tuned", private=True, adapter=True)


def test_the_front_end_loads_no_client_of_the_hub() -> None:
    code = "import sys, manager.service.pushing; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
