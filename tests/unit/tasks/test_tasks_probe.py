"""The probe measures without a trace in the training; memory that runs out makes micro-batches smaller."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks.accumulate
import tasks.loop
from tasks.job import Job, MethodChoice, ProbeChoice
from tasks.protocol import Event, EventType, Outcome
from tasks.step import run_micro_batch

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch
WEIGHTS = "model/model.safetensors"


def curve(events: list[Event]) -> list[tuple[Any, ...]]:
    """Steps and evaluations, without times."""
    keys = {
        EventType.TRAIN: ("step", "loss", "grad_norm", "learning_rate", "samples", "tokens"),
        EventType.EVALUATION: ("stage", "step", "loss", "metrics"),
    }
    return [tuple(event.data[key] for key in keys[event.type]) for event in events if event.type in keys]


def of_type(events: list[Event], event_type: EventType) -> list[Event]:
    return [event for event in events if event.type is event_type]


def lowered(events: list[Event]) -> list[int]:
    said = [event.data for event in of_type(events, EventType.WARNING) if event.data["code"] == "micro_batch_lowered"]
    return [data["micro_batch"] for data in said]


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, *, from_call: int = 1) -> list[int]:
    """Forward passes over more than so many samples run out of memory, as CUDA says it; gives the sizes asked for."""
    original, asked = run_micro_batch, list[int]()

    def run(model: Any, inputs: Any, targets: Any, **options: Any) -> Any:
        asked.append(len(targets))
        if len(targets) > most and len(asked) >= from_call:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(model, inputs, targets, **options)

    monkeypatch.setattr(tasks.accumulate, "run_micro_batch", run)
    return asked


def ask_to_stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """SIGTERM just before this optimizer step."""
    original, calls = tasks.loop._optimizer_step, [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", step)


@pytest.mark.parametrize(
    ("optimizer", "kind", "precision"),
    [
        ("adamw", "full", "fp32"),
        ("adamw", "lora", "bf16-mixed"),
        ("adafactor", "full", "bf16"),
        ("sgd-momentum", "frozen", "fp32"),
        ("adamw-loop", "gradual", "fp32"),
    ],
)
def test_a_probe_leaves_no_trace(
    optimizer: str,
    kind: str,
    precision: str,
    job: Job,
    run_train: Run,
    tmp_path: Path,
    training_with: Callable[..., Job],
) -> None:
    job = training_with(job, optimizer=optimizer, precision=precision, micro_batch=3)
    job = replace(job, method=MethodChoice(kind=kind, lora_rank=2, lora_dropout=0.2))
    status, plain = run_train(job, tmp_path / "plain")
    assert status == 0
    status, probed = run_train(replace(job, probe=ProbeChoice()), tmp_path / "probed")
    assert status == 0
    assert curve(probed) == curve(plain)
    assert (tmp_path / "probed" / WEIGHTS).read_bytes() == (tmp_path / "plain" / WEIGHTS).read_bytes()


def test_running_statistics_are_put_back(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from torch import nn

    from tasks.probe_restore import Untouched

    class Part:
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    class Stub:
        tuned = Part()
        optimizer = torch.optim.AdamW(Part.model.parameters(), lr=0.5)
        scaler = None

    session: Any = Stub()
    before = {name: value.clone() for name, value in Part.model.state_dict().items()}
    untouched = Untouched.of(session)
    drawn = torch.rand(3)
    untouched.put_back(session)
    Part.model(torch.randn(5, 3)).sum().backward()
    session.optimizer.param_groups[0]["lr"] = 0.0
    session.optimizer.step()
    assert not torch.equal(Part.model.state_dict()["1.running_mean"], before["1.running_mean"])
    untouched.put_back(session)
    assert all(torch.equal(value, before[name]) for name, value in Part.model.state_dict().items())
    assert session.optimizer.param_groups[0]["lr"] == 0.5
    assert not session.optimizer.state
    assert torch.equal(torch.rand(3), drawn)


def test_a_probe_tells_what_it_measured(job: Job, run_train: Run, tmp_path: Path) -> None:
    _, events = run_train(replace(job, probe=ProbeChoice()), tmp_path / "run")
    phases = [event.data["name"] for event in of_type(events, EventType.PHASE)]
    assert phases[:4] == ["loading_data", "loading_model", "probe", "baseline"]
    (probe,) = of_type(events, EventType.PROBE)
    data = probe.data
    assert data["micro_batch"] == 8
    assert data["accumulation"] == 1
    assert data["attempts"] == []
    assert min(data["longest_batch_step_s"], data["step_s"], data["evaluation_batch_s"], data["save_s"]) > 0
    # 18 steps, two evaluations on validation and two on test, two checkpoints and the model.
    assert data["remaining_s"] > 18 * data["step_s"] + 3 * data["save_s"]
    assert not (tmp_path / "run" / ".probe").exists()
    assert not lowered(events)


def test_the_longest_samples_come_first_and_the_bill_is_that_of_typical_ones(
    job: Job, run_train: Run, tmp_path: Path
) -> None:
    from tasks import probe_batches

    seen: list[Any] = []
    original = probe_batches.typical_batches

    def typical(session: Any, number: int) -> Any:
        seen.append(session.task.train.lengths[probe_batches.longest_batch(session)].tolist())
        found = original(session, number)
        seen.append([share for _, share in found])
        seen.append(probe_batches.mean_share(session))
        seen.append(sorted(session.task.train.lengths.tolist(), reverse=True)[:8])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.probe.typical_batches", typical)
        run_train(replace(job, probe=ProbeChoice()), tmp_path / "run")
    longest, shares, mean, truly_longest = seen
    assert longest == truly_longest
    assert shares == sorted(shares)
    assert shares[0] < mean < shares[-1]


def test_a_resumed_run_is_not_probed_again(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job, probe=ProbeChoice())
    ask_to_stop_at(monkeypatch, 3)
    _, stopped = run_train(job, tmp_path / "run")
    assert stopped[-1].data["outcome"] == Outcome.STOPPED
    monkeypatch.undo()
    _, events = run_train(job, tmp_path / "run")
    assert len(of_type(events, EventType.PROBE)) == 1


def test_memory_that_is_short_halves_the_micro_batch(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_with: Callable[..., Job]
) -> None:
    _, plain = run_train(training_with(job, micro_batch=2), tmp_path / "plain")
    short_of_memory(monkeypatch, 3)
    status, events = run_train(replace(job, probe=ProbeChoice()), tmp_path / "run")
    assert status == 0
    (probe,) = of_type(events, EventType.PROBE)
    assert (probe.data["micro_batch"], probe.data["accumulation"], probe.data["attempts"]) == (2, 4, [8, 4])
    assert lowered(events) == [2]
    # The batch is the same: so is the run of a job that asks for that micro-batch.
    assert curve(events) == curve(plain)


def test_not_even_one_sample(job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0)
    status, events = run_train(replace(job, probe=ProbeChoice()), tmp_path / "run")
    assert status == 3
    assert events[-1].type is EventType.FAILED
    assert events[-1].data["code"] == "out_of_memory"
    assert "micro-batches of 8, 4, 2 and 1" in events[-1].data["message"]
    assert not of_type(events, EventType.TRAIN)


def test_memory_that_runs_out_later_goes_on_from_the_last_checkpoint(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_with: Callable[..., Job]
) -> None:
    job = training_with(job, checkpoint_every_steps=4)
    asked = short_of_memory(monkeypatch, 4, from_call=7)
    status, events = run_train(job, tmp_path / "run")
    assert status == 0
    assert events[-1].data["outcome"] == Outcome.COMPLETED
    assert [event.data["resumed_from_step"] for event in of_type(events, EventType.STARTED)] == [None, 4]
    assert lowered(events) == [4]
    assert [event.data["step"] for event in of_type(events, EventType.TRAIN)] == list(range(1, 19))
    assert [event.seq for event in events] == list(range(len(events)))
    # After the seventh forward pass none had more than four samples.
    assert max(asked[7:]) == 4


def test_a_smaller_micro_batch_holds_over_resumes(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = short_of_memory(monkeypatch, 4)
    with pytest.MonkeyPatch.context() as patch:
        ask_to_stop_at(patch, 3)
        _, stopped = run_train(replace(job, probe=ProbeChoice()), tmp_path / "run")
    assert stopped[-1].data["outcome"] == Outcome.STOPPED
    before = len(asked)
    # Whether it is probed does not make it another job.
    status, events = run_train(job, tmp_path / "run")
    assert status == 0
    assert lowered(events) == [4]
    assert len(asked) > before
    assert max(asked[before:]) == 4


def test_an_evaluation_that_runs_out_of_memory_asks_for_less(
    job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.text_classification import TextClassification

    original = TextClassification.rows

    def rows(self: Any, model: Any, inputs: Any, targets: Any) -> Any:
        if len(targets) > 8:
            raise RuntimeError("CUDA out of memory.")
        return original(self, model, inputs, targets)

    monkeypatch.setattr(TextClassification, "rows", rows)
    status, events = run_train(job, tmp_path / "run")
    assert status == 0
    assert lowered(events) == [4]
