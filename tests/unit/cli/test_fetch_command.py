"""`tunefare fetch` completes a run's folder from its bucket, and says what it did."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from manager.cli.main import app
from manager.launch.sky_upload import UPLOAD_DIR
from manager.paths import Home
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from tasks.job import StoreChoice
from tasks.protocol import JOB_FILE
from tasks.stores.event_parts import put_part
from tasks.stores.folders import push_folder
from tasks.stores.opening import open_store
from tests.unit.runs.samples import event, order

RUN = "job-20260101-aaaa"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A failed run whose ledger has one event of three."""
    monkeypatch.setenv("TUNEFARE_HOME", str(tmp_path / "home"))
    home = Home(root=tmp_path / "home")
    home.ensure()
    run = order(home.runs_dir / RUN)
    uri = f"file://{tmp_path}/store/{RUN}"
    folder = run.request.run_dir / UPLOAD_DIR
    folder.mkdir(parents=True)
    (folder / JOB_FILE).write_text(replace(run.request.job, store=StoreChoice(uri=uri)).to_json())
    with Ledger.open(home.ledger_file) as ledger:
        for run_id in (RUN, "other-20260101-bbbb"):
            ledger.create_run(run_id, run.plan, home.runs_dir / run_id, "local", None, time.time())
            ledger.transition(run_id, RunState.INTERRUPTED, time.time())
        ledger.append_events(RUN, [event(0)])
    put_part(open_store(uri), [event(seq) for seq in range(3)])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    push_folder(open_store(uri), tmp_path / "model", "model")
    return home


def run_app(*arguments: str) -> int:
    return int(app([*arguments], standalone_mode=False) or 0)


def test_model_and_events_come_home_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app("fetch", "job-2026", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["events"], answer["events_in_ledger"], answer["model"], answer["checkpoint"]) == (3, 2, True, None)
    assert (Path(answer["folder"]) / "model" / "model.safetensors").read_bytes() == b"weights"
    with Ledger.open(home.ledger_file) as ledger:
        assert [one.seq for one in ledger.events(RUN)] == [0, 1, 2]
    assert run_app("fetch", "job-2026") == 0
    said = capsys.readouterr()
    assert "all of it is here already" in said.err
    assert said.out.strip() == answer["folder"]


@pytest.mark.usefixtures("home")
def test_a_run_without_a_bucket_is_told_how_to_have_one() -> None:
    from manager.errors import UsageError

    with pytest.raises(UsageError, match="no bucket") as caught:
        run_app("fetch", "other")
    assert "storage.bucket" in (caught.value.hint or "")
