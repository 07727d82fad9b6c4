"""QLoRA with real 4-bit weights, on the CPU: what is quantized, what is counted, what is exported, how it resumes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tasks.loop
from tasks.failures import TaskError
from tasks.job import DataChoice, Job, MethodChoice, ModelChoice, TrainingChoice
from tasks.methods import apply_method
from tasks.protocol import Event, EventType
from tasks.quantized import elements, nf4_config, values_in_full
from tasks.text_classification import load

Run = Callable[[Job, Path], tuple[int, list[Event]]]
pytestmark = pytest.mark.torch
QLORA = MethodChoice(kind="qlora", lora_rank=2, lora_dropout=0.0)


@pytest.fixture
def wide_job(job: Job, tmp_path: Path) -> Job:
    """A base whose matrices fill blocks of 64, and which has no pooler of its own."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "wide-bert"
    shutil.copytree(job.model.source, folder)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    torch.manual_seed(1)
    BertModel(config, add_pooling_layer=False).save_pretrained(str(folder))  # type: ignore[no-untyped-call]
    return replace(job, model=ModelChoice(source=str(folder)), method=QLORA)


def prepared(job: Job) -> Any:
    torch.manual_seed(0)
    task = load(job, lambda code, message: None)
    return apply_method(task.new_model(), job.method).model


def evaluation(events: list[Event], stage: str) -> dict[str, Any]:
    return next(e.data for e in events if e.type is EventType.EVALUATION and e.data["stage"] == stage)


def is_in_4_bits(name: str) -> bool:
    return "encoder.layer" in name and name.endswith(".weight") and "LayerNorm" not in name and "lora_" not in name


def test_the_layers_of_the_base_are_in_4_bits_and_nothing_else(wide_job: Job) -> None:
    model = prepared(wide_job)
    types = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert {name for name, dtype in types.items() if dtype == torch.uint8} == {n for n in types if is_in_4_bits(n)}
    assert sum(1 for dtype in types.values() if dtype == torch.uint8) == 2 * 6
    assert {dtype for dtype in types.values() if dtype != torch.uint8} == {torch.float32}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    # The pooler has no weights of its own in this base: as a part of the head it is not quantized, and learns.
    head = {name.partition(".modules_to_save")[0].rpartition(".")[2] for name in learning if "lora_" not in name}
    assert head == {"dense", "classifier"}
    assert all("lora_" in name or "modules_to_save" in name for name in learning)


def test_each_weight_is_counted_not_each_byte(wide_job: Job) -> None:
    counts = []
    for kind in ("lora", "qlora"):
        model = prepared(replace(wide_job, method=replace(QLORA, kind=kind)))
        counts.append({name: elements(parameter) for name, parameter in model.named_parameters()})
    assert counts[0] == counts[1]


def test_values_in_full_are_what_the_products_see(wide_job: Job) -> None:
    model = prepared(wide_job)
    values = dict(values_in_full(model))
    plain = dict(prepared(replace(wide_job, method=replace(QLORA, kind="lora"))).named_parameters())
    name = next(name for name in values if is_in_4_bits(name))
    layer = model.get_submodule(name.removesuffix(".weight"))
    inputs = torch.randn(5, values[name].shape[1])
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs), inputs @ values[name].T + layer.bias)
    assert not torch.equal(values[name], plain[name])
    # Normal weights lose about a tenth of their size in nf4, more in blocks as few as here.
    error = (values[name] - plain[name]).norm() / plain[name].norm()
    assert 0.02 < error < 0.25


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "bf16"])
def test_a_run_trains_and_exports_what_was_evaluated(
    precision: str, wide_job: Job, run_train: Run, tmp_path: Path, training_with: Callable[..., Job]
) -> None:
    from safetensors.torch import load_file

    job = training_with(wide_job, precision=precision, learning_rate=3e-2, warmup_ratio=0.0)
    status, events = run_train(job, tmp_path / "out")
    assert status == 0
    final = evaluation(events, "final")

    folder = tmp_path / "out" / "model"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {dtype}
    assert "quantization_config" not in (folder / "config.json").read_text(encoding="utf-8")
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert "QLoRA" in (folder / "README.md").read_text(encoding="utf-8")
    again = replace(job, model=ModelChoice(source=str(folder)), method=MethodChoice(kind="frozen"))
    _, after = run_train(replace(again, training=replace(again.training, max_steps=1)), tmp_path / "again")
    tolerance = 1e-6 if precision == "fp32" else 1e-3
    assert evaluation(after, "baseline")["loss"] == pytest.approx(final["loss"], rel=tolerance)
    assert evaluation(events, "baseline")["loss"] != pytest.approx(final["loss"], rel=1e-2)


def test_it_trains_as_lora_does_over_the_rounded_base(wide_job: Job, run_train: Run, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    rounded = tmp_path / "rounded"
    shutil.copytree(wide_job.model.source, rounded)
    values = {
        name.removeprefix("base_model.model.bert.").replace(".base_layer", ""): value.contiguous()
        for name, value in values_in_full(prepared(wide_job))
    }
    weights = load_file(rounded / "model.safetensors")
    save_file({name: values[name] for name in weights}, rounded / "model.safetensors", metadata={"format": "pt"})

    _, quantized = run_train(wide_job, tmp_path / "qlora")
    lora = replace(wide_job, model=ModelChoice(source=str(rounded)), method=replace(QLORA, kind="lora"))
    _, plain = run_train(lora, tmp_path / "lora")
    losses = [[e.data["loss"] for e in events if e.type is EventType.TRAIN] for events in (quantized, plain)]
    assert len(losses[0]) == 18
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    _, original = run_train(replace(lora, model=wide_job.model), tmp_path / "original")
    assert [e.data["loss"] for e in original if e.type is EventType.TRAIN] != pytest.approx(losses[0], rel=1e-4)


def test_a_stopped_run_goes_on_bit_for_bit(
    wide_job: Job, run_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_train(wide_job, tmp_path / "unbroken")
    original, calls = tasks.loop._optimizer_step, [0]

    def step(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(tasks.loop, "_optimizer_step", step)
    run_train(wide_job, tmp_path / "broken")
    monkeypatch.undo()
    _, resumed = run_train(wide_job, tmp_path / "broken")
    assert [e.data["resumed_from_step"] for e in resumed if e.type is EventType.STARTED] == [None, 5]
    file = "model/model.safetensors"
    assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes()


def test_without_bitsandbytes_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(TaskError, match="bitsandbytes cannot be imported") as raised:
        nf4_config("bf16", frozenset())
    assert "lora" in str(raised.value.hint)


@pytest.mark.parametrize(("precision", "loss"), [("fp32", "plain"), ("bf16-mixed", "chunked")])
def test_a_language_model_in_4_bits_trains_and_exports(
    precision: str, loss: str, tiny_lm: Path, small_texts: Path, run_train: Run, tmp_path: Path
) -> None:
    job = Job(
        run_id="tiny-qlora",
        task="causal-lm",
        model=ModelChoice(source=str(tiny_lm)),
        data=DataChoice(source=str(small_texts), validation=0.1, test=0.1),
        method=QLORA,
        training=TrainingChoice(
            epochs=2,
            batch_size=8,
            learning_rate=3e-2,
            max_length=24,
            precision=precision,
            loss=loss,
            gradient_checkpointing=True,
            metric="perplexity",
        ),
    )
    status, events = run_train(job, tmp_path / "out")
    assert status == 0
    final = evaluation(events, "final")
    assert final["loss"] < 0.99 * evaluation(events, "baseline")["loss"]
    again = replace(job, model=ModelChoice(source=str(tmp_path / "out" / "model")), method=MethodChoice(kind="full"))
    _, after = run_train(replace(again, training=replace(again.training, max_steps=1)), tmp_path / "again")
    tolerance = 1e-6 if precision == "fp32" else 1e-2
    assert evaluation(after, "baseline")["loss"] == pytest.approx(final["loss"], rel=tolerance)
