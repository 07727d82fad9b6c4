"""A run that is broken off and started again gives the very numbers of one that was not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks.loop
from tasks.job import Job, MethodChoice
from tasks.protocol import Event, EventType, Outcome

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch


class Killed(BaseException):
    """Stands for a machine that vanishes: no handler runs, nothing is saved."""


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Do something just before the optimizer step of this number, counted in this process."""
    original, calls = tasks.loop._optimizer_step, [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            action()
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", step)


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill() -> None:
    raise Killed


def curve(events: list[Event]) -> list[tuple[Any, ...]]:
    """What must be equal to the last bit: steps and evaluations, without times."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        if event.type is EventType.TRAIN:
            keys: tuple[str, ...] = ("step", "loss", "grad_norm", "learning_rate", "samples", "tokens")
        elif event.type is EventType.EVALUATION:
            keys = ("stage", "step", "loss", "metrics", "confusion_matrix")
        else:
            continue
        found.append(tuple(event.data[key] for key in keys))
    return found


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_stopped_run_goes_on_bit_for_bit(
    kind: str, job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job, method=MethodChoice(kind=kind, lora_rank=2, lora_dropout=0.2))
    status, unbroken = run_train(job, tmp_path / "unbroken")
    assert status == 0
    at_step(monkeypatch, 5, ask_to_stop)
    status, stopped = run_train(job, tmp_path / "broken")
    assert status == 0
    assert stopped[-1].data["outcome"] == Outcome.STOPPED
    assert stopped[-1].data["steps"] == 5
    monkeypatch.undo()
    status, resumed = run_train(job, tmp_path / "broken")
    assert status == 0
    started = [event for event in resumed if event.type is EventType.STARTED]
    assert [event.data["resumed_from_step"] for event in started] == [None, 5]
    assert curve(resumed) == curve(unbroken)
    assert [event.seq for event in resumed] == list(range(len(resumed)))
    weights = "model/model.safetensors"
    assert (tmp_path / "broken" / weights).read_bytes() == (tmp_path / "unbroken" / weights).read_bytes()


def test_a_killed_run_repeats_lost_steps_in_silence(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_with: Callable[..., Job]
) -> None:
    job = training_with(job, checkpoint_every_steps=4, micro_batch=3)
    _, unbroken = run_train(job, tmp_path / "unbroken")
    at_step(monkeypatch, 12, kill)
    with pytest.raises(Killed):
        run_train(job, tmp_path / "broken")
    monkeypatch.undo()
    with (tmp_path / "broken" / "events.jsonl").open("a") as stream:
        stream.write('{"v":1,"seq":99,"t":1.0,"ty')
    _, resumed = run_train(job, tmp_path / "broken")
    # Step 9 ended the first epoch with the best evaluation so far, so its checkpoint is newer than the one of step 8.
    assert [e.data["resumed_from_step"] for e in resumed if e.type is EventType.STARTED] == [None, 9]
    assert curve(resumed) == curve(unbroken)
    assert [event.seq for event in resumed] == list(range(len(resumed)))
    elapsed = [event.data["elapsed_s"] for event in resumed if event.type is EventType.TRAIN]
    assert elapsed == sorted(elapsed)


def test_an_evaluation_cut_short_is_made_up_for(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, unbroken = run_train(job, tmp_path / "unbroken")
    # The signal arrives during step 9, the last of its epoch: the evaluation that is due then is not begun.
    at_step(monkeypatch, 9, ask_to_stop)
    _, stopped = run_train(job, tmp_path / "broken")
    assert not [e for e in stopped if e.type is EventType.EVALUATION and e.data["stage"] == "interval"]
    monkeypatch.undo()
    _, resumed = run_train(job, tmp_path / "broken")
    assert curve(resumed) == curve(unbroken)


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, unbroken = run_train(job, tmp_path / "unbroken")
    at_step(monkeypatch, 12, ask_to_stop)
    run_train(job, tmp_path / "broken")
    monkeypatch.undo()
    checkpoints = tmp_path / "broken" / "checkpoints"
    assert sorted(folder.name for folder in checkpoints.iterdir()) == ["step-00000009", "step-00000012"]
    file = checkpoints / "step-00000012" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    _, resumed = run_train(job, tmp_path / "broken")
    assert "checkpoint_unreadable" in [e.data["code"] for e in resumed if e.type is EventType.WARNING]
    assert (checkpoints / "damaged-step-00000012").is_dir()
    assert curve(resumed) == curve(unbroken)


def test_another_job_in_the_same_folder_is_refused(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_with: Callable[..., Job]
) -> None:
    at_step(monkeypatch, 2, ask_to_stop)
    run_train(job, tmp_path / "out")
    monkeypatch.undo()
    status, events = run_train(training_with(job, learning_rate=0.5), tmp_path / "out")
    assert status == 2
    assert events[-1].data["code"] == "bad_job"
    assert "training.learning_rate" in events[-1].data["message"]


def test_changed_data_are_refused(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_csv: Path
) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(small_csv.read_bytes())
    job = replace(job, data=replace(job.data, source=str(copy)))
    at_step(monkeypatch, 2, ask_to_stop)
    run_train(job, tmp_path / "out")
    monkeypatch.undo()
    copy.write_text(copy.read_text() + "goal match,sports\n")
    status, events = run_train(job, tmp_path / "out")
    assert status == 2
    assert events[-1].data["code"] == "data_invalid"


def test_a_finished_run_is_left_alone(
    job: Job, run_train: Run, tmp_path: Path, training_with: Callable[..., Job]
) -> None:
    job = training_with(job, max_steps=1)
    _, first = run_train(job, tmp_path / "out")
    status, second = run_train(job, tmp_path / "out")
    assert status == 0
    assert second == first


def test_a_run_of_an_earlier_program_goes_on(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 2, ask_to_stop)
    run_train(job, tmp_path / "out")
    monkeypatch.undo()
    file = tmp_path / "out" / "manifest.json"
    manifest = json.loads(file.read_text())
    # As it was written before these fields came to be.
    del manifest["job"]["training"]["packing"], manifest["job"]["data"]["prompt"]
    file.write_text(json.dumps(manifest))
    status, events = run_train(job, tmp_path / "out")
    assert status == 0, events[-1]
    assert events[-1].data["outcome"] == Outcome.COMPLETED
