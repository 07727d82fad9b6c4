"""Gradual unfreezing: the head first, then layers from the top; resumable, and full fine-tuning in the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tasks.loop
from tasks.job import Job, MethodChoice
from tasks.methods import TunedModel, apply_method, fresh_model
from tasks.optimizers import new_optimizer
from tasks.protocol import Event, EventType
from tasks.step import update

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch


def tuned_bert(layers: int = 1, *, depth: int = 3) -> TunedModel:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=depth,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    model = BertForSequenceClassification(config)  # type: ignore[no-untyped-call]
    return apply_method(fresh_model(model), MethodChoice(kind="gradual", unfreeze_layers=layers))


def learning(tuned: TunedModel) -> set[str]:
    """Parts of the model of which something learns."""
    names = [name for name, parameter in tuned.model.named_parameters() if parameter.requires_grad]
    return {".".join(name.split(".")[:4]) if ".layer." in name else ".".join(name.split(".")[:2]) for name in names}


HEAD = {"classifier.weight", "classifier.bias"}
LAYERS = [{f"bert.encoder.layer.{number}"} for number in range(3)]


def test_the_head_comes_first_and_the_embeddings_last() -> None:
    tuned = tuned_bert()
    expected = [HEAD, HEAD | LAYERS[2] | {"bert.pooler"}]
    expected.append(expected[-1] | LAYERS[1])
    expected.append(expected[-1] | LAYERS[0])
    expected.append(expected[-1] | {"bert.embeddings"})
    assert len(tuned.stages) == len(expected)
    for stage, parts in enumerate(expected):
        tuned.unfreeze(stage)
        assert learning(tuned) == parts
    tuned.unfreeze(99)
    assert all(parameter.requires_grad for parameter in tuned.model.parameters())


def test_several_layers_can_start_together() -> None:
    tuned = tuned_bert(layers=2)
    tuned.unfreeze(1)
    assert learning(tuned) == HEAD | LAYERS[2] | LAYERS[1] | {"bert.pooler"}
    assert len(tuned.stages) == 4


def test_each_weight_belongs_to_one_stage() -> None:
    tuned = tuned_bert()
    counted = [id(part) for stage in tuned.stages for part in stage.parameters]
    assert len(counted) == len(set(counted))
    assert set(counted) == {id(part) for part in tuned.model.parameters()}


def test_what_does_not_learn_runs_without_dropout() -> None:
    tuned = tuned_bert()
    tuned.unfreeze(1)
    tuned.set_training()
    modes = {name: module.training for name, module in tuned.model.named_modules()}
    assert modes["dropout"]
    assert modes["classifier"]
    assert modes["bert.encoder.layer.2.attention.self"]
    assert modes["bert.pooler"]
    assert not modes["bert.encoder.layer.1.attention.self"]
    assert not modes["bert.embeddings.dropout"]
    tuned.unfreeze(4)
    tuned.set_training()
    assert all(module.training for module in tuned.model.modules())


def test_the_optimizer_keeps_state_only_of_what_has_learnt() -> None:
    tuned = tuned_bert()
    optimizer = new_optimizer(tuned.model, name="adamw", learning_rate=1e-3, weight_decay=0.1, device_type="cpu")
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    assert held == len(list(tuned.model.parameters()))
    before = {name: part.detach().clone() for name, part in tuned.model.named_parameters()}
    with_state = []
    for stage in range(len(tuned.stages)):
        tuned.unfreeze(stage)
        tuned.model(input_ids=torch.arange(8)[None]).logits.square().sum().backward()
        update(optimizer, max_grad_norm=1.0)
        with_state.append(len(optimizer.state))
        if stage == 0:
            changed = {name for name, part in tuned.model.named_parameters() if not torch.equal(part, before[name])}
            assert changed == HEAD
    assert with_state == [2, 20, 36, 52, 57]


def test_shared_embeddings_learn_with_the_head() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config)  # type: ignore[no-untyped-call]
    fresh = fresh_model(model, has_new_head=False, adapter_task="CAUSAL_LM")
    tuned = apply_method(fresh, MethodChoice(kind="gradual"))
    tuned.unfreeze(0)
    assert [n for n, part in model.named_parameters() if part.requires_grad] == ["transformer.wte.weight"]
    tuned.unfreeze(1)
    parts = {name.split(".")[1] + name.split(".")[2] for name, part in model.named_parameters() if part.requires_grad}
    assert parts == {"wteweight", "h1", "ln_fweight", "ln_fbias"}


def test_a_model_whose_layers_come_in_no_list_has_two_stages() -> None:
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    torch.manual_seed(0)
    model = MobileNetV2ForImageClassification(MobileNetV2Config())
    tuned = apply_method(fresh_model(model, adapter_task=None), MethodChoice(kind="gradual", unfreeze_layers=1000))
    tuned.unfreeze(0)
    assert {name for name, part in model.named_parameters() if part.requires_grad} == HEAD
    tuned.unfreeze(len(tuned.stages) - 1)
    assert all(part.requires_grad for part in model.parameters())


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    original, calls = tasks.loop._optimizer_step, [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", step)


@pytest.mark.parametrize(("every", "stop"), [(None, 10), (2, 3), (2, 4)])
def test_a_stopped_run_goes_on_bit_for_bit(
    every: int | None, stop: int, job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job, method=MethodChoice(kind="gradual", unfreeze_every_steps=every))
    _, unbroken = run_train(job, tmp_path / "unbroken")
    stop_at(monkeypatch, stop)
    run_train(job, tmp_path / "broken")
    monkeypatch.undo()
    status, resumed = run_train(job, tmp_path / "broken")
    assert status == 0
    assert [e.data["resumed_from_step"] for e in resumed if e.type is EventType.STARTED] == [None, stop]
    losses = [[e.data["loss"] for e in events if e.type is EventType.TRAIN] for events in (unbroken, resumed)]
    assert losses[0] == losses[1]
    file = "model/model.safetensors"
    assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()


def test_the_first_epoch_trains_the_head_alone(
    job: Job, run_train: Run, tmp_path: Path, training_with: Callable[..., Job]
) -> None:
    from safetensors.torch import load_file

    job = replace(training_with(job, max_steps=9, keep_checkpoints=9), method=MethodChoice(kind="gradual"))
    run_train(job, tmp_path / "out")
    tuned = load_file(tmp_path / "out" / "model" / "model.safetensors")
    base = load_file(Path(job.model.source) / "model.safetensors")
    kept = [name for name in base if torch.equal(base[name], tuned[f"bert.{name}"])]
    assert kept == list(base)
    _, events = run_train(replace(job, training=replace(job.training, max_steps=10)), tmp_path / "longer")
    assert events[-1].data["steps"] == 10
    state = load_file(tmp_path / "longer" / "checkpoints" / "step-00000010" / "optimizer.safetensors")
    assert {key.split(".")[0] + key.split(".")[1] for key in state} >= {"bertpooler", "bertencoder"}
    assert not [key for key in state if "encoder.layer.0" in key or "embeddings" in key]
