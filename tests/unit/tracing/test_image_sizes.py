"""Images of another size than the model was pre-trained on: the traced step stretches positions as training does."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.job import MethodChoice
from tasks.profile import trace
from tasks.step_trace import StepTrace, TraceRequest, evaluate

_VIT: dict[str, Any] = {
    "model_type": "vit",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "patch_size": 8,
}


def _trace(own_size: int, size: int | None, method: str, precision: str) -> StepTrace:
    return trace(
        TraceRequest(
            config={**_VIT, "image_size": own_size},
            task="image-classification",
            method=MethodChoice(kind=method),
            precision=precision,
            image_size=size,
        )
    )


def _forward_matmul_flops(found: StepTrace) -> float:
    groups = [group for group in found.ops if group.phase == "forward" and group.kind == "matmul"]
    return sum(evaluate(group.flops, batch=4, length=1, rank=8) for group in groups)


@pytest.mark.parametrize(("method", "precision"), [("full", "fp32"), ("full", "bf16-mixed"), ("lora", "bf16")])
def test_a_larger_image_costs_what_a_model_of_that_size_does(method: str, precision: str) -> None:
    own, stretched, larger = (
        _trace(own_size, size, method, precision) for own_size, size in ((64, None), (64, 96), (96, None))
    )
    # The table of positions stays that of the model.
    assert stretched.parameters == own.parameters < larger.parameters
    assert _forward_matmul_flops(stretched) == _forward_matmul_flops(larger) > _forward_matmul_flops(own)
