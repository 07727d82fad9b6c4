"""A run that is kept in a store, from the command line: what lies there, and what comes home from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.stores.event_parts import read_parts
from tasks.stores.folders import complete_folders, is_complete
from tasks.stores.opening import open_store
from tests.support.cli import Cli, trainers_of, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path)
    yield commands
    commands.end()
    for pid in trainers_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def keep_in_store(folder: Path) -> str:
    """Name a store in the run file; its URI."""
    uri = f"file://{folder}/store"
    file = folder / "tunefare.yaml"
    file.write_text(f"{file.read_text()}\nstorage:\n  bucket: {uri}\n")
    return uri


def test_a_lost_folder_comes_back_from_the_store(cli: Cli, tmp_path: Path) -> None:
    write_run_file(tmp_path, model=write_tiny_model(tmp_path), data=write_news(tmp_path), training={"epochs": 2})
    uri = keep_in_store(tmp_path)
    done = cli.run("run", "--on", "local", "--yes", "--max-usd", "1")
    assert done.code == 0, done.stderr
    (run,) = cli.json_lines("runs", "--json")
    store = open_store(f"{uri}/{run['run_id']}")
    run_dir = tmp_path / "home" / "runs" / run["run_id"]
    local = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert [json.loads(event.to_line()) for event in read_parts(store)] == local
    assert is_complete(store, "model")
    assert list(complete_folders(store, "checkpoints")) == sorted(os.listdir(run_dir / "checkpoints"))
    weights = (run_dir / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(run_dir / "model")
    (run_dir / "events.jsonl").unlink()
    fetched = cli.run("fetch", run["run_id"])
    assert fetched.code == 0, fetched.stderr
    assert f"{len(local)} events and the tuned model" in fetched.stderr
    assert (run_dir / "model" / "model.safetensors").read_bytes() == weights
