"""A run with a store goes on on an empty machine: killed for good, its folder gone, the same job started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tasks.loop
from tasks.job import Job, StoreChoice
from tasks.protocol import EVENT_PREFIX, Event, EventType, Outcome, parse_event
from tasks.stores.event_parts import read_parts
from tasks.stores.folders import complete_folders, is_complete, pull_folder
from tasks.stores.opening import open_store
from tests.support.bucket_stage import QUICK, environment_of, s3_buckets
from tests.support.fault_proxy import Fault
from tests.unit.tasks.test_tasks_resume import Killed, at_step, curve, kill

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[3]
ORIGINAL_STEP = tasks.loop._optimizer_step


@pytest.fixture
def kept(job: Job, tmp_path: Path) -> Job:
    """The job with a store, checkpointed every second step."""
    training = replace(job.training, checkpoint_every_steps=2)
    return replace(job, training=training, store=StoreChoice(uri=f"file://{tmp_path}/store/run-1", sync_s=0.2))


def start(job: Job, folder: Path, *, until: Callable[[Path], bool] | None = None) -> list[str]:
    """The trainer as a process of its own; killed for good once `until` says so. What it said as events."""
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(job.to_json())
    command = [sys.executable, "-m", "tasks.train", str(folder / "job.json"), "--out", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)
        while process.poll() is None:
            if until is not None and until(folder):
                process.send_signal(signal.SIGKILL)
            time.sleep(0.005)
    text = (folder / "log.txt").read_text()
    assert until is not None or process.returncode == 0, text
    return [line.removeprefix(EVENT_PREFIX) for line in text.splitlines() if line.startswith(EVENT_PREFIX)]


def hear(told: dict[int, Event], lines: list[str]) -> None:
    """As home does: what was heard before must be the same when it is said again."""
    for event in map(parse_event, lines):
        assert told.setdefault(event.seq, event) == event


def stored(job: Job) -> list[Event]:
    assert job.store is not None
    return list(read_parts(open_store(job.store.uri)))


def test_killed_for_good_it_ends_as_if_unbroken(kept: Job, tmp_path: Path) -> None:
    """SIGKILL at two moments, each time on a new machine; home has heard nothing that the store has not."""
    assert kept.store is not None
    unbroken = start(replace(kept, store=None), tmp_path / "unbroken")
    heard: dict[int, Event] = {}
    for number, step in enumerate((2, 6)):

        def is_stored(folder: Path, step: int = step) -> bool:
            return (tmp_path / f"store/run-1/checkpoints/step-{step:08d}/complete.json").exists()

        machine = tmp_path / f"machine-{number}"
        hear(heard, start(kept, machine, until=is_stored))
        assert [*heard.values()] == stored(kept)[: len(heard)]
        shutil.rmtree(machine)
    hear(heard, start(kept, tmp_path / "machine-last"))
    events = [*heard.values()]
    assert [event.seq for event in events] == list(range(len(events)))
    assert events == stored(kept)
    assert curve(events) == curve([parse_event(line) for line in unbroken])
    resumed = [event.data["resumed_from_step"] for event in events if event.type is EventType.STARTED]
    assert resumed[0] is None
    assert len(resumed) == 3
    assert all(isinstance(step, int) and step >= 2 for step in resumed[1:])
    steps = [event.data["step"] for event in events if event.type is EventType.CHECKPOINT]
    assert steps == sorted(set(steps))
    assert events[-1].data["best"] == parse_event(unbroken[-1]).data["best"]
    weights = "model/model.safetensors"
    assert (tmp_path / "unbroken" / weights).read_bytes() == (tmp_path / "machine-last" / weights).read_bytes()
    store = open_store(kept.store.uri)
    assert is_complete(store, "model")
    pull_folder(store, "model", tmp_path / "home")
    assert (tmp_path / "home" / "model.safetensors").read_bytes() == (tmp_path / "unbroken" / weights).read_bytes()


def test_stored_checkpoints_are_pruned_as_those_of_the_machine(kept: Job, run_train: Run, tmp_path: Path) -> None:
    assert kept.store is not None
    status, _ = run_train(kept, tmp_path / "run")
    assert status == 0
    local = sorted(folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir())
    assert list(complete_folders(open_store(kept.store.uri), "checkpoints")) == local
    names = {entry.key.split("/")[1] for entry in open_store(kept.store.uri).list("checkpoints/")}
    assert names == set(local)


def test_a_finished_run_says_so_on_an_empty_machine(kept: Job, run_train: Run, tmp_path: Path) -> None:
    _, first = run_train(kept, tmp_path / "run")
    status, again = run_train(kept, tmp_path / "other")
    assert status == 0
    assert again == first


def test_a_damaged_checkpoint_in_the_store_is_left_for_the_one_before(
    kept: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.store is not None
    _, unbroken = run_train(replace(kept, store=None), tmp_path / "unbroken")
    at_step(monkeypatch, 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    status, _ = run_train(kept, tmp_path / "run")
    assert status == 0
    monkeypatch.undo()
    newest = complete_folders(open_store(kept.store.uri), "checkpoints")[-1]
    weights = tmp_path / "store" / "run-1" / "checkpoints" / newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    monkeypatch.setattr("tasks.stores.opening.Patience", lambda: QUICK)
    status, resumed = run_train(kept, tmp_path / "other")
    assert status == 0
    warned = [event.data for event in resumed if event.data.get("code") == "stored_checkpoint_damaged"]
    assert len(warned) == 1
    assert newest in warned[0]["message"]
    assert curve(resumed) == curve(unbroken)


def test_a_kill_before_anything_was_published_loses_no_number(
    kept: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same machine goes on: what waited in the spool is stored by the next start."""
    kept = replace(kept, store=replace(kept.store, sync_s=1e6)) if kept.store else kept
    at_step(monkeypatch, 4, kill)
    with pytest.raises(Killed):
        run_train(kept, tmp_path / "run")
    monkeypatch.undo()
    status, events = run_train(kept, tmp_path / "run")
    assert status == 0
    assert [event.seq for event in events] == list(range(len(events)))
    assert events == stored(kept)


def test_a_store_of_another_run_is_refused_without_an_event(
    kept: Job, run_train: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    short = replace(kept, training=replace(kept.training, max_steps=1))
    run_train(short, tmp_path / "run")
    before = stored(kept)
    _, other = run_train(replace(short, store=None), tmp_path / "other")
    status, events = run_train(short, tmp_path / "other")
    assert status == 1
    assert events == other
    assert stored(kept) == before
    assert "another run" in capfd.readouterr().err


def test_a_store_that_is_no_place_fails_before_anything_costs(kept: Job, run_train: Run, tmp_path: Path) -> None:
    bad = replace(kept, store=StoreChoice(uri="ftp://somewhere/x"))
    status, events = run_train(bad, tmp_path / "run")
    assert status == 2
    assert [event.type for event in events] == [EventType.FAILED]
    assert events[0].data["code"] == "bad_job"


def test_a_notice_of_preemption_saves_at_once_and_goes_on(
    kept: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.preemption import Notice, PreemptionWatch

    notices: list[Notice] = []
    watch = PreemptionWatch(lambda: notices[0] if notices else None, period_s=0.01)
    monkeypatch.setattr("tasks.train.this_machine", lambda: watch)

    def give_notice() -> None:
        notices.append(Notice(source="test", seconds_left=120.0))
        while watch.notice is None:
            time.sleep(0.01)

    at_step(monkeypatch, 3, give_notice)
    status, events = run_train(kept, tmp_path / "run")
    assert status == 0
    kinds = [event.type for event in events]
    at = kinds.index(EventType.PREEMPTED)
    assert events[at].data == {"source": "test", "seconds_left": 120.0}
    assert kinds[at + 1] is EventType.CHECKPOINT
    assert events[at + 1].data["step"] == 3
    assert kinds.count(EventType.PREEMPTED) == 1
    assert events[-1].data["outcome"] == Outcome.COMPLETED
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["run_id"] == kept.run_id


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_from_s3_with_faults_on_the_way_it_goes_on_too(
    kept: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.stores.opening.Patience", lambda: QUICK)
    _, unbroken = run_train(replace(kept, store=None), tmp_path / "unbroken")
    with s3_buckets() as buckets, environment_of(buckets):
        kept = replace(kept, store=StoreChoice(uri=buckets.uri, sync_s=0.2))
        for fault in (Fault.UNAVAILABLE, Fault.CUT_REQUEST, Fault.WRONG_REQUEST, Fault.LOST_ANSWER):
            buckets.proxy.fail(fault, lambda seen: seen.method == "PUT" and "checkpoints" in seen.path)
        at_step(monkeypatch, 7, kill)
        with pytest.raises(Killed):
            run_train(kept, tmp_path / "run")
        monkeypatch.setattr("tasks.loop._optimizer_step", ORIGINAL_STEP)
        for fault in (Fault.TRUNCATED, Fault.WRONG_ANSWER, Fault.CUT_ANSWER):
            buckets.proxy.fail(fault, lambda seen: seen.method == "GET" and "step-" in seen.path and bool(seen.range))
        status, resumed = run_train(kept, tmp_path / "other")
        faults = {seen.fault for seen in buckets.proxy.seen}
        assert len(complete_folders(open_store(buckets.uri), "checkpoints")) >= 2
    assert status == 0
    assert faults >= {Fault.WRONG_REQUEST, Fault.TRUNCATED, Fault.WRONG_ANSWER}
    resumed_from = [event.data["resumed_from_step"] for event in resumed if event.type is EventType.STARTED]
    assert resumed_from[0] is None
    assert resumed_from[1] >= 4
    assert curve(resumed) == curve(unbroken)
