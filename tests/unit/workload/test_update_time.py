"""The update's time by optimizer: formulas against traced steps, and what a plan makes of another than was traced."""

from __future__ import annotations

from functools import lru_cache

import pytest

from manager.workload.optimizers import update_work
from manager.workload.roofline import step_seconds
from tasks.job import MethodChoice
from tasks.profile import trace
from tasks.step_trace import OPTIMIZERS, StepTrace, TraceRequest
from tests.unit.workload.timed_steps import plain_speed

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")]

_BERT = {
    "model_type": "bert",
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 1000,
}


@lru_cache(maxsize=len(OPTIMIZERS))
def _traced(optimizer: str) -> StepTrace:
    return trace(
        TraceRequest(
            config=_BERT,
            task="text-classification",
            method=MethodChoice(kind="full"),
            precision="bf16-mixed",
            optimizer=optimizer,
        )
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_an_update_moves_is_what_was_traced(optimizer: str) -> None:
    step = _traced(optimizer)
    own = [group for group in step.ops if group.kind == "update"]
    moved = sum(group.count * group.bytes.get("1", 0.0) for group in own)
    kernels = sum(group.count for group in own)
    work = update_work(optimizer, step.trainable)
    assert work.moved_bytes == pytest.approx(moved, rel=0.05)
    assert work.kernels == pytest.approx(kernels, rel=0.1, abs=20)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_time_of_an_optimizer_that_was_not_traced_is_close_to_that_of_its_own_trace(optimizer: str) -> None:
    speed = plain_speed(
        rates={(kind, dtype): 1e12 for kind in ("matmul", "attention") for dtype in ("bfloat16", "float32")}
    )
    own = step_seconds(_traced(optimizer), speed, batch=2, length=32)
    adapted = step_seconds(_traced("adamw"), speed, batch=2, length=32, optimizer=optimizer)
    assert adapted.update_s == pytest.approx(own.update_s, rel=0.05)
    assert adapted.forward_s == own.forward_s
