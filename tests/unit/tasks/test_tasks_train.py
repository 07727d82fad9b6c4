"""The training program from the job file to the tuned model, on a tiny model."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tasks.loop
from tasks.job import GuardChoice, Job, MethodChoice, TargetChoice
from tasks.protocol import Event, EventType, Outcome

Run = Callable[[Job, Path], tuple[int, list[Event]]]
Change = Callable[..., Job]
pytestmark = pytest.mark.torch


def of_type(events: list[Event], event_type: EventType) -> list[Event]:
    return [event for event in events if event.type is event_type]


def last(events: list[Event]) -> Event:
    assert events[-1].type is EventType.FINISHED, events[-1]
    return events[-1]


def test_a_run_tells_its_whole_story(job: Job, run_train: Run, tmp_path: Path) -> None:
    status, events = run_train(job, tmp_path / "out")
    assert status == 0
    names = [str(event.type) for event in events if event.type not in (EventType.TRAIN, EventType.PHASE)]
    middle = ["evaluation", "checkpoint"] * 2
    assert names == ["started", "data", "model", "evaluation", *middle, "evaluation", "finished"]
    phases = [event.data["name"] for event in of_type(events, EventType.PHASE)]
    assert phases == ["loading_data", "loading_model", "baseline", "training", "final_evaluation", "saving"]
    data = of_type(events, EventType.DATA)[0].data
    assert (data["train_samples"], data["validation_samples"], data["test_samples"]) == (72, 9, 9)
    assert data["labels"] == ["money", "sports", "tech"]
    assert data["truncated_samples"] > 0
    assert data["longest_tokens"] == 16
    stages = [(event.data["stage"], event.data["split"]) for event in of_type(events, EventType.EVALUATION)]
    interval = ("interval", "validation")
    assert stages == [("baseline", "test"), interval, interval, ("final", "test")]
    assert [event.data["step"] for event in of_type(events, EventType.TRAIN)] == list(range(1, 19))
    assert of_type(events, EventType.TRAIN)[-1].data["tokens"] == 2 * data["tokens_per_epoch"]
    assert last(events).data["outcome"] == Outcome.COMPLETED


def test_tuning_learns_the_words(job: Job, run_train: Run, tmp_path: Path, training_with: Change) -> None:
    _, events = run_train(training_with(job, epochs=10, learning_rate=3e-3), tmp_path / "out")
    baseline, *_, final = of_type(events, EventType.EVALUATION)
    assert baseline.data["metrics"]["accuracy"] < 0.6
    assert final.data["metrics"]["accuracy"] >= 0.85
    assert sum(map(sum, final.data["confusion_matrix"])) == 9


@pytest.mark.parametrize("kind", ["full", "lora", "frozen"])
def test_the_exported_model_gives_the_final_evaluation(
    kind: str, job: Job, run_train: Run, tmp_path: Path, small_csv: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from tasks.data import load_data

    job = replace(job, method=MethodChoice(kind=kind, lora_rank=2))
    _, events = run_train(job, tmp_path / "out")
    folder = last(events).data["output"]
    assert not list(Path(folder).rglob("*.bin"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    classify = pipeline("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    test = load_data(job.data, seed=5, notify=lambda code, message: None)
    answers = classify(test.test.texts, truncation=True, max_length=16)
    right = [answer["label"] == test.labels[at] for answer, at in zip(answers, test.test.labels, strict=True)]
    final = of_type(events, EventType.EVALUATION)[-1].data
    assert np.mean(right) == pytest.approx(final["metrics"]["accuracy"])
    assert (Path(folder) / "adapter" / "adapter_model.safetensors").exists() == (kind == "lora")
    assert "| accuracy |" in (Path(folder) / "README.md").read_text()
    assert json.loads((Path(folder) / "manifest.json").read_text())["seed"] == 5


def test_methods_train_what_they_say(job: Job, run_train: Run, tmp_path: Path, training_with: Change) -> None:
    counts = {}
    for kind in ("full", "lora", "frozen"):
        changed = replace(training_with(job, max_steps=1), method=MethodChoice(kind=kind, lora_rank=2))
        _, events = run_train(changed, tmp_path / kind)
        counts[kind] = of_type(events, EventType.MODEL)[0].data
    assert counts["full"]["trainable_parameters"] == counts["full"]["parameters"]
    assert counts["frozen"]["trainable_parameters"] == 16 * 3 + 3
    # Rank 2 on six linear layers in each of two blocks and on the pooler, and the head.
    per_block = 4 * 2 * (16 + 16) + 2 * 2 * (16 + 32)
    assert counts["lora"]["trainable_parameters"] == 2 * per_block + 2 * (16 + 16) + 16 * 3 + 3


def test_micro_batches_do_not_change_the_gradient(
    job: Job, run_train: Run, tmp_path: Path, training_with: Change, tiny_model: Path
) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    calm = tmp_path / "calm"
    calm.mkdir()
    for file in tiny_model.iterdir():
        (calm / file.name).write_bytes(file.read_bytes())
    (calm / "config.json").write_text(json.dumps(config))
    job = replace(job, model=replace(job.model, source=str(calm)))
    curves = []
    for micro_batch in (None, 3):
        changed = training_with(job, micro_batch=micro_batch, max_steps=4, gradient_checkpointing=micro_batch == 3)
        _, events = run_train(changed, tmp_path / f"out-{micro_batch}")
        curves.append([(e.data["loss"], e.data["grad_norm"]) for e in of_type(events, EventType.TRAIN)])
    assert curves[0] == [pytest.approx(values, rel=1e-4) for values in curves[1]]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_bfloat16(precision: str, job: Job, run_train: Run, tmp_path: Path, training_with: Change) -> None:
    from safetensors.torch import load_file

    status, events = run_train(training_with(job, precision=precision, max_steps=3), tmp_path / "out")
    assert status == 0
    weights = load_file(f"{last(events).data['output']}/model.safetensors")
    expected = "torch.bfloat16" if precision == "bf16" else "torch.float32"
    assert {str(weight.dtype) for weight in weights.values()} == {expected}


def test_early_stopping_keeps_the_best_weights(job: Job, run_train: Run, tmp_path: Path, training_with: Change) -> None:
    changed = training_with(
        job, epochs=10, learning_rate=1e-9, early_stopping_patience=2, eval_every_steps=3, keep_checkpoints=1
    )
    _, events = run_train(changed, tmp_path / "out")
    assert last(events).data["outcome"] == Outcome.EARLY_STOPPED
    assert last(events).data["steps"] == 9
    assert last(events).data["best"]["step"] == 3
    assert of_type(events, EventType.EVALUATION)[-1].data["step"] == 3
    kept = sorted(folder.name for folder in (tmp_path / "out" / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000009"]


def test_a_target_ends_training(job: Job, run_train: Run, tmp_path: Path) -> None:
    _, events = run_train(replace(job, target=TargetChoice(metric="accuracy", value=0.01)), tmp_path / "out")
    assert last(events).data["outcome"] == Outcome.TARGET_REACHED
    assert last(events).data["steps"] == 9


def test_the_cap_ends_training_with_a_checkpoint_and_an_evaluation(
    job: Job, run_train: Run, tmp_path: Path, training_with: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tasks.loop._optimizer_step
    # Each step is billed as 100 s; at $3.6/h and a cap of $0.85 the bill reaches it in the ninth.
    passed = [0.0]

    def slow_step(*arguments: object) -> object:
        passed[0] += 100.0
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.loop, "_optimizer_step", slow_step)
    start = time.time()
    monkeypatch.setattr("tasks.train.Guard", lambda choice: _guard_with(choice, lambda: start + passed[0]))
    guard = GuardChoice(price_usd_per_hour=3.6, max_usd=0.85, billing_started_s=start)
    _, events = run_train(replace(training_with(job, epochs=4), guard=guard), tmp_path / "out")
    assert last(events).data["outcome"] == Outcome.CAP_REACHED
    assert last(events).data["steps"] == 9
    assert of_type(events, EventType.CHECKPOINT)[-1].data["step"] == 9
    assert last(events).data["output"] is not None


def _guard_with(choice: GuardChoice, clock: Callable[[], float]) -> object:
    from tasks.guard import Guard

    return Guard(choice, clock=clock)


def test_a_cap_that_is_spent_at_once_still_ends_in_good_order(job: Job, run_train: Run, tmp_path: Path) -> None:
    spent = GuardChoice(max_duration_s=60.0, billing_started_s=time.time() - 100.0)
    status, events = run_train(replace(job, guard=spent), tmp_path / "out")
    assert status == 0
    assert (last(events).data["outcome"], last(events).data["steps"]) == (Outcome.CAP_REACHED, 0)
    assert last(events).data["output"] is None
    again, same = run_train(replace(job, guard=spent), tmp_path / "out")
    assert (again, same) == (0, events)


def test_a_raised_cap_lets_the_run_go_on(job: Job, run_train: Run, tmp_path: Path) -> None:
    spent = GuardChoice(max_duration_s=60.0, billing_started_s=time.time() - 100.0)
    run_train(replace(job, guard=spent), tmp_path / "out")
    _, events = run_train(job, tmp_path / "out")
    assert last(events).data["outcome"] == Outcome.COMPLETED
    assert len(of_type(events, EventType.FINISHED)) == 2
