"""Training refuses a chunked loss by numbers and a plan by ops: both say the same of each kind of head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tasks.causal_lm import _has_plain_logits
from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing import traced_step
from tasks.tracing.losses_by_task import check_plain_logits
from tasks.tracing.models import build, read_config
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.samples import samples_for
from tasks.tracing.traced_step import record_step

pytestmark = pytest.mark.torch

_SMALL = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}
_KINDS: dict[str, tuple[dict[str, Any], bool]] = {
    "llama": ({"model_type": "llama"}, True),
    "llama, tied": ({"model_type": "llama", "tie_word_embeddings": True}, True),
    "gpt2": ({"model_type": "gpt2", "n_embd": 64, "n_layer": 1, "n_head": 4}, True),
    "phi, a bias": ({"model_type": "phi"}, True),
    "gemma2": ({"model_type": "gemma2", "head_dim": 16, "final_logit_softcapping": None}, True),
    "gemma2, capped": ({"model_type": "gemma2", "head_dim": 16, "final_logit_softcapping": 30.0}, False),
    "llama, a cap without effect": ({"model_type": "llama", "final_logit_softcapping": 30.0}, False),
    "granite, scaled by 1": ({"model_type": "granite", "logits_scaling": 1.0}, True),
    "granite, scaled": ({"model_type": "granite", "logits_scaling": 8.0}, False),
    "cohere, scaled by 1": ({"model_type": "cohere", "logit_scale": 1.0}, True),
    "cohere, scaled": ({"model_type": "cohere", "logit_scale": 0.0625}, False),
}


def _request(config: dict[str, Any], **method: Any) -> TraceRequest:
    return TraceRequest(
        config={**_SMALL, **config},
        task="causal-lm",
        method=MethodChoice(**method),
        precision="fp32",
        kernels="cpu",
        loss="chunked",
    )


@pytest.mark.parametrize("kind", _KINDS)
def test_training_and_plan_agree(kind: str) -> None:
    config, is_plain = _KINDS[kind]
    torch.manual_seed(1)
    model = build(_request(config), device="cpu").fresh.model
    assert _has_plain_logits(model) is is_plain
    if is_plain:
        record_step(_request(config), batch=2, length=16)
        return
    with pytest.raises(RefusedModel) as refused:
        record_step(_request(config), batch=2, length=16)
    assert refused.value.field == "loss"


def test_a_request_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []

    def check(model: nn.Module, inputs: dict[str, torch.Tensor]) -> None:
        checked.append(1)
        check_plain_logits(model, inputs)

    monkeypatch.setattr(traced_step, "_checked", [])
    monkeypatch.setattr(traced_step, "check_plain_logits", check)
    request = _request({"model_type": "llama", "num_hidden_layers": 3}, kind="lora", lora_rank=8)
    points = samples_for(request, read_config(request).to_dict(), with_rank=True).points
    for layers in (1, 2):
        for point in points[:2] + points[-2:]:
            record_step(request, batch=2, length=16, rank=point.rank, layers=layers, slices=1)
    assert len(checked) == 1
    record_step(_request({"model_type": "llama"}), batch=2, length=16)
    assert len(checked) == 2
    checked_pass, other = (record_step(_request({"model_type": "phi"}), batch=2, length=16) for _ in range(2))
    # The model's layer in training and in evaluation.
    assert checked_pass.attention == other.attention == {"flash_for_cpu": 2}
    with pytest.raises(RefusedModel):
        record_step(_request(_KINDS["granite, scaled"][0]), batch=2, length=16)
