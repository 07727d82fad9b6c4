"""Secrets of a run reach the environment of its task, and no file, argument, log or printed YAML."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from manager.errors import SpecError
from manager.launch.engine import LaunchRequest, MachineState
from manager.launch.local import LocalEngine
from manager.launch.render import render_task, render_yaml
from manager.spec.reader import parse_spec
from tasks.job import DataChoice, Job, ModelChoice
from tasks.redaction import MASK
from tests.support.sky_stage import LAUNCHED, Stage, offer

VALUE = "correct-horse-battery"
SECRETS = {"HF_TOKEN": VALUE, "MY_THING": "another-hidden-value"}
RUN_FILE = "schema: 1\nmodel: org/model\ndata: org/data\n"


def request(run_dir: Path, **changes: Any) -> LaunchRequest:
    job = Job(run_id="demo-1", model=ModelChoice(source="org/model"), data=DataChoice(source="org/data"))
    return LaunchRequest(
        run_id="demo-1", job=job, run_dir=run_dir, **{"offers": (offer("a100"),), "secrets": SECRETS, **changes}
    )


def test_the_task_has_them_in_skypilots_own_field_and_nowhere_else(tmp_path: Path) -> None:
    task = render_task(request(tmp_path), upload_dir=tmp_path)
    assert task.pop("secrets") == SECRETS
    assert task["envs"]["TUNEFARE_SECRETS"] == "HF_TOKEN,MY_THING"
    assert not any(value in json.dumps(task) for value in SECRETS.values())


def test_the_printed_yaml_masks_them(tmp_path: Path) -> None:
    text = render_yaml(request(tmp_path), upload_dir=tmp_path)
    assert YAML(typ="safe", pure=True).load(text)["secrets"] == dict.fromkeys(SECRETS, MASK)
    assert not any(value in text for value in SECRETS.values())


def test_the_request_does_not_tell_them(tmp_path: Path) -> None:
    assert not any(value in repr(request(tmp_path)) for value in SECRETS.values())


def test_a_task_without_secrets_has_no_such_field(tmp_path: Path) -> None:
    task = render_task(request(tmp_path, secrets={}), upload_dir=tmp_path)
    assert "secrets" not in task
    assert "TUNEFARE_SECRETS" not in task["envs"]


def test_no_file_of_a_launch_through_skypilot_holds_them(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.play(launch=[{"result": LAUNCHED}])
    asked = request(tmp_path / "run")
    stage.engine.submit(asked, stage.engine.reserve(asked))
    stage.engine.close()
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert len(files) > 3
    assert not any(value.encode() in file.read_bytes() for file in files for value in SECRETS.values())


def test_the_local_task_gets_them_by_its_environment_alone(tmp_path: Path) -> None:
    program = tmp_path / "told.py"
    program.write_text("import os\nprint(len(os.environ['HF_TOKEN']), os.environ['TUNEFARE_SECRETS'])\n")
    engine = LocalEngine(python=sys.executable, task_module="told", env={"PYTHONPATH": str(tmp_path)})
    asked = request(tmp_path / "run", offers=(offer("cpu", cloud="local", accelerator=None, accelerator_count=0),))
    handle = engine.submit(asked, engine.reserve(asked)).handle
    deadline = time.monotonic() + 20
    while engine.status(handle) is MachineState.RUNNING or engine.status(handle) is MachineState.STARTING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert (tmp_path / "run" / "log.txt").read_text().strip() == f"{len(VALUE)} HF_TOKEN,MY_THING"
    assert not any(value.encode() in file.read_bytes() for file in files for value in SECRETS.values())


def test_a_run_file_names_secrets() -> None:
    spec = parse_spec(f"{RUN_FILE}secrets: [HF_TOKEN, HF_TOKEN, WANDB_API_KEY]\n", name="f", folder=Path("/"))
    assert spec.secrets == ("HF_TOKEN", "WANDB_API_KEY")


@pytest.mark.parametrize(
    "written",
    [
        f"secrets: [{VALUE}]",
        f"secrets: {{HF_TOKEN: {VALUE}}}",
        f"secrets: {VALUE}",
        f"secrets: [HF_TOKEN={VALUE}]",
        "secrets: [LD_PRELOAD]",
        "secrets: [PATH]",
        "secrets: ['A; curl x']",
    ],
)
def test_values_and_dangerous_names_are_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(f"{RUN_FILE}{written}\n", name="f", folder=Path("/"))
    assert VALUE not in f"{refused.value.message} {refused.value.hint}"
    assert "HF_TOKEN" in f"{refused.value.message} {refused.value.hint}"
