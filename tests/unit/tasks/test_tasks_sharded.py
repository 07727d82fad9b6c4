"""FSDP2 on two processes over gloo: what one process gives, in losses, metrics, checkpoints and the tuned model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tasks.job import DataChoice, Job, MethodChoice, ModelChoice, TrainingChoice
from tasks.protocol import Event, EventType, Outcome, parse_event
from tests.support.trained_together import start, train_together

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch

_SHORT = TrainingChoice(
    epochs=1,
    # Seven samples in parts of two: one process gets a part more than the other.
    batch_size=7,
    micro_batch=2,
    max_steps=6,
    eval_every_steps=3,
    learning_rate=1e-2,
    max_length=16,
    max_grad_norm=0.5,
    log_every_steps=1,
    metric="accuracy",
    seed=5,
)
_METHODS = {
    "full": MethodChoice(kind="full"),
    "lora": MethodChoice(kind="lora", lora_rank=2, lora_dropout=0.0),
    "frozen": MethodChoice(kind="frozen"),
    "gradual": MethodChoice(kind="gradual", unfreeze_every_steps=2),
}


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_lm: Path, small_csv: Path, small_texts: Path
) -> Path:
    """Runs of two processes, by name; the second process has its own folder, as on another machine."""
    folder = tmp_path_factory.mktemp("sharded")
    for name, model in (("bert", tiny_model), ("llama", tiny_lm)):
        shutil.copytree(model, folder / name)
        config = json.loads((model / "config.json").read_text())
        (folder / name / "config.json").write_text(
            json.dumps(config | {key: 0.0 for key in config if "dropout" in key})
        )
    starts = [start(sharded(job), folder / name) for name, job in jobs(folder, small_csv, small_texts).items()]
    starts.append(start(jobs(folder, small_csv, small_texts)["gradual"], folder / "gradual-ddp"))
    noisy = sharded(with_dropout(folder, tiny_model, small_csv))
    starts += [
        start(noisy, folder / "unbroken"),
        start(noisy, folder / "broken", stop_at=5),
        start(noisy, folder / "broken"),
        start(noisy, folder / "broken"),
        start(noisy, folder / "for-one", stop_at=5),
        start(noisy, folder / "full-device", fail_at=3),
    ]
    statuses = train_together(starts, folder)
    assert statuses[:-1] == [[0, 0]] * (len(starts) - 1)
    # The first process could not write its own: its main thread waited for the second one.
    assert statuses[-1] == [None, 3]
    return folder


def jobs(folder: Path, small_csv: Path, small_texts: Path) -> dict[str, Job]:
    """Without dropout, which is not the same on two processes."""
    labels = Job(
        run_id="s", model=ModelChoice(source=str(folder / "bert")), data=DataChoice(source=str(small_csv)), device="cpu"
    )
    words = replace(
        labels,
        task="causal-lm",
        model=ModelChoice(source=str(folder / "llama")),
        data=DataChoice(source=str(small_texts)),
    )
    recomputed = replace(_SHORT, metric="perplexity", gradient_checkpointing=True, optimizer="adamw-foreach")
    return {
        **{kind: replace(labels, method=method, training=_SHORT) for kind, method in _METHODS.items()},
        "words": replace(words, training=recomputed),
        # Gathered in bfloat16 and reduced in float32; one process rounds the weights elsewhere.
        "mixed": replace(words, training=replace(recomputed, precision="bf16-mixed", learning_rate=1e-3)),
    }


def with_dropout(folder: Path, tiny_model: Path, small_csv: Path) -> Job:
    return Job(
        run_id="s",
        model=ModelChoice(source=str(tiny_model)),
        data=DataChoice(source=str(small_csv)),
        training=replace(_SHORT, max_steps=8, eval_every_steps=None),
        device="cpu",
    )


def sharded(job: Job) -> Job:
    return replace(job, training=replace(job.training, sharding="fsdp"))


def events_of(out: Path) -> list[Event]:
    return [parse_event(line) for line in (out / "events.jsonl").read_text().splitlines()]


def steps(events: list[Event]) -> list[float]:
    return [event.data[key] for event in events if event.type is EventType.TRAIN for key in ("loss", "grad_norm")]


def scores(events: list[Event]) -> list[float]:
    found: list[float] = []
    for event in events:
        if event.type is EventType.EVALUATION:
            values = (event.data["loss"], *event.data["metrics"].values())
            found.extend(float(value) for value in values if value is not None)
    return found


def assert_same_tensors(left: Path, right: Path, **tolerance: Any) -> None:
    tensors = load_file(left), load_file(right)
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor, **tolerance)


@pytest.mark.parametrize(("name", "rel"), [*((kind, 1e-3) for kind in _METHODS), ("words", 1e-3), ("mixed", 1e-2)])
def test_two_processes_with_divided_weights_train_as_one(
    name: str, rel: float, folder: Path, small_csv: Path, small_texts: Path, run_train: Run, tmp_path: Path
) -> None:
    status, alone = run_train(jobs(folder, small_csv, small_texts)[name], tmp_path / "alone")
    assert status == 0
    two = events_of(folder / name)
    assert two[0].data["device_count"] == 2
    assert len(steps(alone)) == 12
    assert steps(two) == pytest.approx(steps(alone), rel=rel)
    assert scores(two) == pytest.approx(scores(alone), rel=rel)
    model = [next(event.data for event in events if event.type is EventType.MODEL) for events in (two, alone)]
    assert model[0] == model[1]
    files = {str(file.relative_to(tmp_path / "alone")) for file in (tmp_path / "alone").rglob("*") if file.is_file()}
    assert files == {str(file.relative_to(folder / name)) for file in (folder / name).rglob("*") if file.is_file()}
    for file in sorted(file for file in files if file.endswith(".safetensors") and "rng" not in file):
        assert_same_tensors(tmp_path / "alone" / file, folder / name / file, rtol=rel, atol=rel / 5)


def test_two_processes_that_hold_all_train_as_those_that_divide(folder: Path) -> None:
    divided, whole = (events_of(folder / name) for name in ("gradual", "gradual-ddp"))
    assert len(steps(whole)) == 12
    assert steps(divided) == pytest.approx(steps(whole), rel=1e-3)
    assert scores(divided) == pytest.approx(scores(whole), rel=1e-3)
    file = "model/model.safetensors"
    assert_same_tensors(folder / "gradual-ddp" / file, folder / "gradual" / file, rtol=1e-3, atol=2e-4)


def test_the_second_process_writes_nothing(folder: Path) -> None:
    assert not [file for file in folder.glob("*-elsewhere/**/*") if file.is_file()]


def test_a_signal_to_one_process_stops_both_with_a_checkpoint_and_they_go_on_bit_for_bit(folder: Path) -> None:
    # Started a third time it has nothing to do, which the process without the folder has to be told.
    events = events_of(folder / "broken")
    finished = [event.data for event in events if event.type is EventType.FINISHED]
    assert [(data["outcome"], data["steps"]) for data in finished] == [(Outcome.STOPPED, 5), (Outcome.COMPLETED, 8)]
    assert steps(events) == steps(events_of(folder / "unbroken"))
    file = "model/model.safetensors"
    assert (folder / "broken" / file).read_bytes() == (folder / "unbroken" / file).read_bytes()


def test_one_process_goes_on_where_two_have_stopped(
    folder: Path, tiny_model: Path, small_csv: Path, run_train: Run, tmp_path: Path
) -> None:
    shutil.copytree(folder / "for-one", tmp_path / "one")
    status, events = run_train(with_dropout(folder, tiny_model, small_csv), tmp_path / "one")
    assert status == 0
    assert [event.data["resumed_from_step"] for event in events if event.type is EventType.STARTED] == [None, 5]
    assert events[-1].data["outcome"] == Outcome.COMPLETED


def test_a_failure_of_one_process_is_told_by_the_first_and_ends_both(folder: Path) -> None:
    last = events_of(folder / "full-device")[-1]
    assert last.type is EventType.FAILED
    assert last.data["code"] == "out_of_memory"
    assert "the second process is full" in last.data["message"]
