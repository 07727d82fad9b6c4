"""A trace brought to another rank or number of labels against the trace that was made there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manager.catalog.accelerators import accelerator
from manager.profiling.adapt import OTHER_BLOCKS, at_rank, with_labels
from manager.workload.efficiencies import software
from manager.workload.memory_answer import memory_of
from manager.workload.memory_device import memory_device
from manager.workload.roofline import evaluation_seconds, step_seconds
from manager.workload.speed import Speed, speed_of
from manager.workload.work import work_of
from tasks.job import MethodChoice
from tasks.profile import trace
from tasks.step_trace import StepTrace, TraceRequest

pytestmark = pytest.mark.torch

_LENGTH = 64
_WIDTH = 1024
_SHAPE = {"hidden_size": _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 16, "vocab_size": 32_000}
_BERT = {**_SHAPE, "model_type": "bert", "intermediate_size": 4096}
_LLAMA = {**_SHAPE, "model_type": "llama", "intermediate_size": 2816, "num_key_value_heads": 4, "pad_token_id": 0}
_LABELS = 1000


def _request(config: dict[str, Any], task: str, kind: str, precision: str, *, rank: int = 16) -> TraceRequest:
    method = MethodChoice(kind=kind, lora_rank=rank)
    return TraceRequest(config=config, task=task, method=method, precision=precision)


def _speed() -> Speed:
    card = accelerator("A100-80GB")
    assert card is not None
    found = speed_of(card, software=software("eager"))
    assert found is not None
    return found


def _check(adapted: StepTrace, real: StepTrace, *, batch: int, rank: int | None) -> None:
    """Tensors, work and time within 0.1 %."""
    for name in ("parameters", "trainable_parameters"):
        assert getattr(adapted, name) == getattr(real, name)
    assert adapted.layer_weight_bytes == pytest.approx(real.layer_weight_bytes, rel=0.03)
    for optimizer in ("adamw", "adamw-8bit", "adafactor"):
        one, other = (
            memory_of(
                step, batch=batch, length=_LENGTH, device=memory_device("A100-80GB"), rank=rank, optimizer=optimizer
            )
            for step in (adapted, real)
        )
        assert one.allocated_bytes == pytest.approx(other.allocated_bytes, rel=1e-3)
    mine, theirs = (work_of(step, batch=batch, length=_LENGTH) for step in (adapted, real))
    for phase, work in theirs.items():
        assert mine[phase].ops == work.ops
        flops, more = (sum(group.count * group.flops for group in one.groups) for one in (mine[phase], work))
        assert flops == pytest.approx(more, rel=1e-3)
    speed = _speed()
    step_s, real_s = (step_seconds(step, speed, batch=batch, length=_LENGTH).total_s for step in (adapted, real))
    assert step_s == pytest.approx(real_s, rel=1e-3)
    step_s, real_s = (
        evaluation_seconds(step, speed, samples=batch, batch=batch, length=_LENGTH) for step in (adapted, real)
    )
    assert step_s == pytest.approx(real_s, rel=1e-3)


@pytest.mark.parametrize(
    ("config", "kind", "precision"),
    [
        (_BERT, "full", "fp32"),
        (_BERT, "full", "bf16-mixed"),
        (_BERT, "frozen", "bf16"),
        (_LLAMA, "full", "bf16"),
        (_LLAMA, "lora", "bf16-mixed"),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else str(value),
)
def test_a_thousand_labels(config: dict[str, Any], kind: str, precision: str) -> None:
    has_adapters = kind == "lora"
    request = _request(config, "text-classification", kind, precision)
    two = trace(request, with_rank=has_adapters)
    two = at_rank(two, 16) if has_adapters else two
    # BERT's head has a bias, LLaMA's has none and reads every token.
    elements = _WIDTH + (config is _BERT)
    adapted = with_labels(two, more=_LABELS - 2, elements=elements, width=_WIDTH)
    real = trace(replace(request, num_labels=_LABELS))
    _check(adapted, real, batch=32, rank=16 if has_adapters else None)


@pytest.mark.parametrize("rank", [4, 64, 256])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_other_ranks(rank: int, precision: str) -> None:
    shipped = trace(_request(_LLAMA, "causal-lm", "lora", precision), with_rank=True)
    adapted, real = at_rank(shipped, rank), trace(_request(_LLAMA, "causal-lm", "lora", precision, rank=rank))
    _check(adapted, real, batch=8, rank=rank)
    assert adapted.layer_weight_bytes == real.layer_weight_bytes
    assert adapted.trainable.largest_elements == real.trainable.largest_elements
    assert adapted.trainable.factor_elements == real.trainable.factor_elements


def test_large_adapters_are_told_of() -> None:
    shipped = trace(_request(_LLAMA, "causal-lm", "lora", "bf16-mixed"), with_rank=True)
    # The mean adapter takes 5,193 bytes a rank, and 1 MiB are 201.9 of that.
    assert shipped.trainable.bytes == pytest.approx(28 * 16 * 5193, rel=1e-4)
    assert OTHER_BLOCKS not in at_rank(shipped, 201).notes
    assert OTHER_BLOCKS in at_rank(shipped, 202).notes
