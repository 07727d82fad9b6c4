"""A tiny language model tuned from the job file to the exported folder."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks.loop
from tasks.job import DataChoice, Job, MethodChoice, ModelChoice, TargetChoice, TrainingChoice
from tasks.protocol import Event, EventType

Run = Callable[[Job, Path], tuple[int, list[Event]]]
Change = Callable[..., Job]
Write = Callable[[str, list[dict[str, Any]]], Path]
pytestmark = pytest.mark.torch


@pytest.fixture
def lm_job(tiny_lm: Path, small_texts: Path) -> Job:
    """Two epochs of eight steps over prompts and completions."""
    return Job(
        run_id="tiny-lm",
        task="causal-lm",
        model=ModelChoice(source=str(tiny_lm)),
        data=DataChoice(source=str(small_texts), validation=0.1, test=0.1),
        training=TrainingChoice(
            epochs=2, batch_size=8, learning_rate=1e-2, max_length=24, log_every_steps=1, metric="perplexity", seed=5
        ),
    )


def evaluations(events: list[Event]) -> list[dict[str, Any]]:
    return [event.data for event in events if event.type is EventType.EVALUATION]


def of_type(events: list[Event], event_type: EventType) -> list[dict[str, Any]]:
    return [event.data for event in events if event.type is event_type]


def test_a_run_lowers_perplexity_and_says_no_accuracy_of_classes(
    lm_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    status, events = run_train(training_with(lm_job, epochs=6), tmp_path / "out")
    assert status == 0, events[-1]
    baseline, *_, final = evaluations(events)
    assert set(final["metrics"]) == {"perplexity", "token_accuracy"}
    assert (final["per_class"], final["confusion_matrix"]) == ({}, None)
    # Untrained: about as many words as the vocabulary has. Tuned: a word of three, the same again, the end.
    assert baseline["metrics"]["perplexity"] > 20
    assert final["metrics"]["perplexity"] < 4
    assert final["metrics"]["perplexity"] == pytest.approx(math.exp(final["loss"]))
    assert final["metrics"]["token_accuracy"] > baseline["metrics"]["token_accuracy"]
    best = events[-1].data["best"]
    assert best["metric"] == "perplexity"
    assert best["value"] == min(e["metrics"]["perplexity"] for e in evaluations(events) if e["stage"] == "interval")
    data = of_type(events, EventType.DATA)[0]
    assert (data["train_samples"], data["labels"], data["packed_sequences"]) == (64, [], None)


@pytest.mark.parametrize("method", ["full", "lora", "frozen", "gradual"])
@pytest.mark.parametrize("packing", [False, True])
def test_the_exported_model_gives_the_final_loss(
    method: str, packing: bool, lm_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    job = replace(training_with(lm_job, packing=packing), method=MethodChoice(kind=method, lora_rank=2))
    status, events = run_train(job, tmp_path / "out")
    assert status == 0, events[-1]
    folder = events[-1].data["output"]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.use_cache is True

    from tasks.text_data import load_texts

    test = load_texts(job.data, chat=None, seed=job.training.seed, notify=lambda *_: None).test
    loss_sum, tokens = 0.0, 0
    for prompt, text in zip(test.prompts or [], test.texts, strict=True):
        ids = tokenizer(prompt)["input_ids"]
        learnt = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
        with torch.inference_mode():
            log_probabilities = model(torch.tensor([ids + learnt])).logits[0].log_softmax(-1)
        loss_sum -= sum(float(log_probabilities[len(ids) - 1 + at, token]) for at, token in enumerate(learnt))
        tokens += len(learnt)
    assert evaluations(events)[-1]["loss"] == pytest.approx(loss_sum / tokens, rel=1e-4)
    card = (Path(folder) / "README.md").read_text()
    assert "pipeline_tag: text-generation" in card
    assert "Labels:" not in card


def test_packing_trains_on_the_same_tokens_in_fewer_rows(
    lm_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    _, plain = run_train(lm_job, tmp_path / "plain")
    _, packed = run_train(training_with(lm_job, packing=True), tmp_path / "packed")
    rows = of_type(packed, EventType.DATA)[0]["packed_sequences"]
    assert rows < 40
    assert packed[-1].data["steps"] == 2 * math.ceil(rows / 8)
    tokens = [of_type(events, EventType.TRAIN)[-1]["tokens"] for events in (plain, packed)]
    assert tokens[0] == tokens[1] == 2 * of_type(plain, EventType.DATA)[0]["tokens_per_epoch"]
    assert evaluations(plain)[0] == {**evaluations(packed)[0], "duration_s": evaluations(plain)[0]["duration_s"]}


def test_what_was_measured_is_what_is_trained_on(
    lm_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    from tasks.measuring import Asked, measured

    job = training_with(lm_job, packing=True, max_steps=1, max_length=14)
    _, events = run_train(job, tmp_path / "out")
    facts = of_type(events, EventType.DATA)[0]
    asked = Asked(
        task="causal-lm", folder=Path(job.model.source), data=job.data, max_length=14, batch_size=8, seed=5
    )  # fmt: skip
    figures = measured(asked, lambda *_: None)
    shared = set(facts) & set(figures)
    assert shared >= {"train_samples", "test_samples", "mean_tokens", "longest_tokens", "packed_sequences", "sha256"}
    assert {name: figures[name] for name in shared} == {name: facts[name] for name in shared}
    assert figures["truncated_share"] == facts["truncated_samples"] / facts["train_samples"]


def test_micro_batches_and_chunks_give_the_same_steps(
    lm_job: Job, run_train: Run, tmp_path: Path, training_with: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    still = tmp_path / "still"
    still.mkdir()
    for file in Path(lm_job.model.source).iterdir():
        (still / file.name).write_bytes(file.read_bytes())
    config = json.loads((still / "config.json").read_text()) | {"attention_dropout": 0.0}
    (still / "config.json").write_text(json.dumps(config))
    job = replace(training_with(lm_job, max_steps=4), model=ModelChoice(source=str(still)))
    monkeypatch.setattr("tasks.causal_lm.CHUNK_TOKENS", 7)
    curves = []
    for name, change in (("whole", {}), ("cut", {"micro_batch": 3}), ("chunked", {"loss": "chunked"})):
        _, events = run_train(training_with(job, **change), tmp_path / name)
        curves.append([(step["loss"], step["grad_norm"]) for step in of_type(events, EventType.TRAIN)])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    np.testing.assert_allclose(curves[2], curves[0], rtol=1e-4)


@pytest.mark.parametrize("packing", [False, True])
def test_a_stopped_run_goes_on_bit_for_bit(
    packing: bool,
    lm_job: Job,
    run_train: Run,
    tmp_path: Path,
    training_with: Change,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = training_with(lm_job, packing=packing)
    _, unbroken = run_train(job, tmp_path / "unbroken")
    original, calls = tasks.loop._optimizer_step, [0]

    def stop_in_third(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", stop_in_third)
    run_train(job, tmp_path / "broken")
    monkeypatch.undo()
    _, resumed = run_train(job, tmp_path / "broken")

    def curve(events: list[Event]) -> list[Any]:
        steps = [(step["step"], step["loss"], step["grad_norm"]) for step in of_type(events, EventType.TRAIN)]
        return steps + [(each["stage"], each["loss"], each["metrics"]) for each in evaluations(events)]

    assert [each["resumed_from_step"] for each in of_type(resumed, EventType.STARTED)] == [None, 3]
    assert sorted(map(str, curve(resumed))) == sorted(map(str, curve(unbroken)))
    weights = "model/model.safetensors"
    assert (tmp_path / "broken" / weights).read_bytes() == (tmp_path / "unbroken" / weights).read_bytes()


def test_conversations_are_learnt_whole(lm_job: Job, run_train: Run, tmp_path: Path, write_jsonl: Write) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"word{at % 30} word{at % 7}"},
                {"role": "assistant", "content": "goal"},
            ]
        }
        for at in range(60)
    ]
    file = write_jsonl("chat.jsonl", rows)
    status, events = run_train(replace(lm_job, data=DataChoice(source=str(file))), tmp_path / "out")
    assert status == 0, events[-1]
    # <user> wordA wordB <bot> goal <end>
    assert of_type(events, EventType.DATA)[0]["mean_tokens"] == 6.0


def test_a_target_of_perplexity_is_reached_from_above(lm_job: Job, run_train: Run, tmp_path: Path) -> None:
    job = replace(lm_job, target=TargetChoice(metric="perplexity", value=1000.0))
    _, events = run_train(job, tmp_path / "out")
    assert (events[-1].data["outcome"], events[-1].data["steps"]) == ("target_reached", 8)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"metric": "accuracy"}, "bad_job", "training.metric is 'accuracy'"),
        ({"max_length": 100}, "bad_job", "the model takes at most 64 tokens"),
        ({"max_length": 4, "metric": "perplexity"}, "", ""),
    ],
)
def test_hyper_parameters_that_do_not_fit(
    change: dict[str, Any],
    code: str,
    message: str,
    lm_job: Job,
    run_train: Run,
    tmp_path: Path,
    training_with: Change,
) -> None:
    status, events = run_train(training_with(lm_job, **change), tmp_path / "out")
    if not code:
        # Prompts of four words and more are left out, and it is said.
        assert status == 0, events[-1]
        assert "nothing_to_learn" in [event.data["code"] for event in events if event.type is EventType.WARNING]
        return
    assert status == 2
    assert events[-1].data["code"] == code
    assert message in events[-1].data["message"]


def test_capped_logits_are_not_learnt_in_chunks(
    lm_job: Job, run_train: Run, tmp_path: Path, training_with: Change
) -> None:
    import shutil

    from transformers import Gemma2Config, Gemma2ForCausalLM

    shutil.copytree(lm_job.model.source, tmp_path / "capped")
    config = Gemma2Config(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(str(tmp_path / "capped"))  # type: ignore[no-untyped-call]
    job = replace(training_with(lm_job, loss="chunked"), model=ModelChoice(source=str(tmp_path / "capped")))
    status, events = run_train(job, tmp_path / "out")
    assert status == 2
    assert "does more to its logits" in events[-1].data["message"]


@pytest.mark.parametrize(
    ("task", "message"),
    [("seq2seq-lm", "can be planned, not trained yet"), ("dancing", "There is no task 'dancing'")],
)
def test_tasks_without_a_trainer_are_refused(
    task: str, message: str, lm_job: Job, run_train: Run, tmp_path: Path
) -> None:
    status, events = run_train(replace(lm_job, task=task), tmp_path / "out")
    assert status == 2
    assert message in events[-1].data["message"]
