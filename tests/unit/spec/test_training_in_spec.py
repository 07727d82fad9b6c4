"""Methods, precisions, optimizers, attention and loss in the run file: read, defaulted, refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from manager.errors import SpecError
from manager.spec.model import RunSpec
from manager.spec.reader import parse_spec
from manager.spec.schema import Attention, Optimizer
from tasks.job import MethodChoice, TrainingChoice
from tasks.step_trace import OPTIMIZERS, PRECISIONS

GOOD = "schema: 1\nmodel: org/model\ndata: org/data\n"
LANGUAGE = GOOD + "task: causal-lm\n"


def parsed(text: str) -> RunSpec:
    return parse_spec(text, name="tunefare.yaml", folder=Path("/somewhere"))


def test_defaults_are_those_of_the_job_file() -> None:
    spec = parsed(GOOD)
    assert spec.method == MethodChoice()
    # A job file has been decided; a run file leaves checkpointing to the planner.
    assert spec.training == replace(TrainingChoice(), gradient_checkpointing=None)


@pytest.mark.parametrize(("text", "value"), [("auto", None), ("true", True), ("false", False)])
def test_checkpointing_is_left_open_or_decided(text: str, value: bool | None) -> None:
    spec = parsed(GOOD + f"training: {{gradient_checkpointing: {text}}}\n")
    assert spec.training.gradient_checkpointing is value


def test_precision_and_sharding_may_be_left_to_the_planner() -> None:
    spec = parsed(GOOD + "training: {precision: auto, sharding: fsdp}\n")
    assert (spec.training.precision, spec.training.sharding) == ("auto", "fsdp")
    assert parsed(GOOD).training.sharding == "auto"


def test_each_choice_arrives() -> None:
    spec = parsed(
        LANGUAGE + "method: {kind: gradual, unfreeze_layers: 2, unfreeze_every_steps: 50}\n"
        "training: {precision: fp16-mixed, optimizer: adafactor, attention: flash_attention_2, loss: chunked}\n"
    )
    assert spec.method == MethodChoice(kind="gradual", unfreeze_layers=2, unfreeze_every_steps=50)
    training = spec.training
    assert (training.precision, training.optimizer) == ("fp16-mixed", "adafactor")
    assert (training.attention, training.loss) == ("flash_attention_2", "chunked")
    assert parsed(GOOD + "method: qlora\n").method.kind == "qlora"


def test_names_are_those_of_the_tracer() -> None:
    assert get_args(Optimizer) == OPTIMIZERS
    assert "auto" in get_args(Attention)
    for precision in set(PRECISIONS) - {"fp16"}:
        assert parsed(GOOD + f"training: {{precision: {precision}}}\n").training.precision == precision


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "training: {precision: fp16}\n", "fp16-mixed keeps them in float32"),
        (GOOD + "training: {optimizer: adam}\n", "`training.optimizer` is 'adam'"),
        (GOOD + "training: {attention: flash_attention_2}\n", "computes in 16 bits"),
        (GOOD + "training: {sharding: zero3}\n", "`training.sharding` is 'zero3'"),
        (GOOD + "training: {gradient_checkpointing: often}\n", "training.gradient_checkpointing"),
        (GOOD + "training: {loss: chunked}\n", "loss chunked is for causal-lm"),
        (GOOD + "method: {kind: full, unfreeze_layers: 2}\n", "unfreeze_layers is for the method gradual"),
        (GOOD + "method: {kind: gradual, unfreeze_every_steps: 0}\n", "method.unfreeze_every_steps"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        parsed(text)
    assert message in f"{raised.value} {raised.value.hint}"
