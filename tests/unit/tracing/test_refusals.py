"""Configs that give no trace are refused with the field at fault; odd but sound ones are not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from tasks.job import MethodChoice
from tasks.step_trace import TraceRequest
from tasks.tracing.recording import Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.traced_step import record_step

pytestmark = pytest.mark.torch

LLAMA = {
    "model_type": "llama",
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}


def _record(config: dict[str, Any], task: str = "causal-lm", layers: int | None = None, **options: Any) -> Recording:
    chosen: dict[str, Any] = {"method": MethodChoice(), "precision": "bf16", **options}
    return record_step(TraceRequest(config=config, task=task, **chosen), batch=2, length=32, layers=layers)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"hidden_size": 64}, "model_type"),
        ({"model_type": "no-such-architecture"}, "model_type"),
        ({"model_type": "own", "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}, "auto_map"),
        ({**LLAMA, "hidden_size": "wide"}, "hidden_size"),
        ({**LLAMA, "num_attention_heads": 3}, None),
    ],
)
def test_config_that_cannot_be_built(config: dict[str, Any], field: str | None) -> None:
    with pytest.raises(RefusedModel) as refused:
        _record(config)
    assert refused.value.hint
    if field is not None:
        assert refused.value.field == field


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
@pytest.mark.parametrize("known_by", ["type", "architecture"])
def test_model_of_a_package_that_is_not_installed(known_by: str) -> None:
    named = {"model_type": "timm_wrapper"} if known_by == "type" else {}
    with pytest.raises(RefusedModel, match="timm") as refused:
        _record({**named, "architecture": "resnet18"}, "image-classification")
    assert "timm" in refused.value.hint


def test_task_without_such_a_head() -> None:
    with pytest.raises(RefusedModel, match="cannot be built for image-classification") as refused:
        _record(LLAMA, "image-classification")
    assert "AutoModelForImageClassification" in refused.value.hint


@pytest.mark.parametrize(
    ("config", "op"),
    [({"model_type": "gemma2", "final_logit_softcapping": 30.0}, "tanh"), ({"model_type": "cohere"}, "mul")],
)
def test_chunked_loss_is_refused_where_more_is_done_to_logits(config: dict[str, Any], op: str) -> None:
    small = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 100, "head_dim": 16}
    with pytest.raises(RefusedModel, match=f"does more to its logits .*{op}") as caught:
        _record({**small, "num_key_value_heads": 4, **config}, "causal-lm", loss="chunked")
    assert caught.value.field == "loss"


def test_chunked_loss_is_for_language_models() -> None:
    with pytest.raises(RefusedModel) as refused:
        _record({"model_type": "vit", "num_hidden_layers": 1}, "image-classification", loss="chunked")
    assert refused.value.field == "loss"


def test_method_that_leaves_nothing_to_learn() -> None:
    part = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    siglip = {"model_type": "siglip", "text_config": part, "vision_config": {**part, "image_size": 32}}
    with pytest.raises(RefusedModel, match="Nothing") as refused:
        _record(siglip, "contrastive", method=MethodChoice(kind="frozen"))
    assert refused.value.field == "method"


def test_frozen_pair_of_encoders_learns_its_projections() -> None:
    part = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    clip = {"model_type": "clip", "text_config": part, "vision_config": {**part, "image_size": 32}}
    recording = _record({**clip, "projection_dim": 16}, "contrastive", method=MethodChoice(kind="frozen"))
    assert recording.trainable_parameters == 2 * 32 * 16


def test_class_of_a_type_with_several_is_the_one_that_the_config_names() -> None:
    deit = {"model_type": "deit", "num_hidden_layers": 1, "hidden_size": 36, "num_attention_heads": 3, "image_size": 32}
    heads = {
        name: _record({**deit, "architectures": [name] if name else None}, "image-classification").parameters
        for name in ("", "DeiTForImageClassification", "DeiTForImageClassificationWithTeacher")
    }
    assert heads["DeiTForImageClassificationWithTeacher"] == heads["DeiTForImageClassification"] + 2 * 36 + 2
    assert heads[""] == heads["DeiTForImageClassification"]


def test_stages_have_no_number_of_layers() -> None:
    config = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "image_size": 32}
    with pytest.raises(RefusedModel) as refused:
        _record(config, "image-classification", layers=2)
    assert refused.value.field == "layers"


def test_remote_code_of_a_known_architecture_is_not_needed() -> None:
    assert _record({**LLAMA, "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}).parameters > 0


def test_odd_head_size_runs_on_math_kernel() -> None:
    """Neither fused kernel takes heads of 20 with a mask."""
    recording = _record({**LLAMA, "hidden_size": 80, "head_dim": 20})
    assert set(recording.attention) == {"math"}


def test_tied_weights_count_once() -> None:
    tied, apart = _record({**LLAMA, "tie_word_embeddings": True}), _record({**LLAMA, "tie_word_embeddings": False})
    assert apart.parameters - tied.parameters == 500 * 64
    assert apart.weights_bytes - tied.weights_bytes == 2 * 500 * 64


@pytest.mark.parametrize(
    ("config", "task"),
    [
        (LLAMA, "causal-lm"),
        ({"model_type": "gpt2", "vocab_size": 500, "n_embd": 64, "n_layer": 4, "n_head": 4}, "causal-lm"),
        ({**LLAMA, "model_type": "gemma3_text", "head_dim": 16, "num_hidden_layers": 6}, "causal-lm"),
        (
            {"model_type": "bart", "vocab_size": 500, "d_model": 64, "encoder_layers": 4, "decoder_layers": 4}
            | {"encoder_attention_heads": 4, "decoder_attention_heads": 4},
            "seq2seq-lm",
        ),
    ],
)
def test_number_of_layers_can_be_changed(config: dict[str, Any], task: str) -> None:
    small, large = (_record(config, task, layers=layers) for layers in (2, 3))
    assert (small.layers, large.layers) == (2, 3)
    assert small.parameters < large.parameters
    assert small.layer_weight_bytes == large.layer_weight_bytes
