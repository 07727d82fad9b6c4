"""Architectures off the beaten track: each traces, or is refused with its type, the cause and the field at fault."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.failures import TaskError
from tasks.job import MethodChoice
from tasks.profile import trace
from tasks.step_trace import TraceRequest
from tasks.tracing import models
from tasks.tracing.recording import LIVE_COLUMNS, Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.samples import samples_for
from tasks.tracing.traced_step import record_step

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 40,
}
SPEECH: dict[str, Any] = {**SMALL, "conv_dim": [16] * 7, "num_conv_pos_embedding_groups": 2}
LISTENER: dict[str, Any] = {
    **dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 32),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    "vocab_size": 40,
}


def _request(config: dict[str, Any], task: str, **options: Any) -> TraceRequest:
    chosen: dict[str, Any] = {"method": MethodChoice(), "precision": "fp32", **options}
    return TraceRequest(config=config, task=task, **chosen)


def _record(config: dict[str, Any], task: str, *, length: int = 32, **options: Any) -> Recording:
    return record_step(_request(config, task, **options), batch=2, length=length)


def _input_bytes(recording: Recording) -> int:
    return int(recording.live_bytes[0, LIVE_COLUMNS.index("inputs")])


def _blocks(*sizes: int) -> int:
    return sum(-(-size // 512) * 512 for size in sizes)


@pytest.mark.parametrize(
    ("config", "task", "length", "floats", "mask", "targets"),
    [
        # Hops of 160 samples, two of them side by side: 100 frames in 2 s.
        ({"model_type": "wav2vec2-bert", **SMALL}, "speech-ctc", 32_000, 100 * 160, 100, 32),
        ({"model_type": "wav2vec2-bert", **SMALL}, "audio-classification", 32_000, 100 * 160, 100, 1),
        ({"model_type": "sew-d", **SPEECH, "conv_dim": [16] * 13}, "audio-classification", 32_000, 32_000, 0, 1),
        # Thirty seconds of sound, whatever the transcript: its ids are read and learnt.
        ({"model_type": "speech_to_text", **LISTENER}, "speech-seq2seq", 32, 3000 * 80, 3000, 2 * 32),
        ({"model_type": "moonshine", **SMALL}, "speech-seq2seq", 32, 480_000, 480_000, 2 * 32),
    ],
)
def test_what_speech_models_read(
    config: dict[str, Any], task: str, length: int, floats: int, mask: int, targets: int
) -> None:
    recording = _record(config, task, length=length)
    per_target = [8 * targets] if task != "speech-seq2seq" else [4 * targets] * 2
    assert _input_bytes(recording) == _blocks(2 * 4 * floats, 2 * 8 * mask, *(2 * size for size in per_target))
    assert ("Recordings are taken as 30 s long." in recording.notes) == (task == "speech-seq2seq")


@pytest.mark.parametrize(
    ("config", "task", "options", "field", "said"),
    [
        (
            {"model_type": "swinv2", "embed_dim": 16, "depths": [1], "num_heads": [2], "image_size": 32},
            "image-classification",
            {"precision": "bf16"},
            "precision",
            "Swinv2SelfAttention",
        ),
        ({"model_type": "fnet", **SMALL}, "text-classification", {"precision": "bf16-mixed"}, "precision", "BFloat16"),
        (
            {"model_type": "siglip2", "vision_config": SMALL, "text_config": SMALL},
            "contrastive",
            {},
            "pixel_attention_mask",
            "Siglip2Model",
        ),
        (
            {"model_type": "imagegpt", "n_embd": 32, "n_layer": 1, "n_head": 2},
            "image-classification",
            {},
            "input_ids",
            "ImageGPTModel",
        ),
    ],
)
def test_step_that_cannot_run(
    config: dict[str, Any], task: str, options: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(RefusedModel) as refused:
        _record(config, task, **options)
    assert refused.value.field == field
    assert config["model_type"] in refused.value.message
    assert said in refused.value.message
    assert field == "precision" or field in refused.value.hint


def test_types_that_mix_are_traced_in_another_precision() -> None:
    swin = {"model_type": "swinv2", "embed_dim": 16, "depths": [1], "num_heads": [2], "image_size": 32}
    assert _record(swin, "image-classification", precision="bf16-mixed").parameters > 0


def test_config_without_a_padding_token_is_no_defect() -> None:
    small = {"d_model": 32, "d_latents": 32, "num_latents": 4, "num_self_attends_per_block": 1}
    heads = {"num_self_attention_heads": 2, "num_cross_attention_heads": 2, "max_position_embeddings": 64}
    config = {"model_type": "perceiver", **small, **heads, "vocab_size": 40}
    assert _record(config, "text-classification").parameters > 0


@pytest.mark.parametrize("where", ["_set_for_training", "set_layers"])
def test_any_error_of_a_config_is_a_refusal(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def failing(*_: object) -> None:
        raise AttributeError("'OwnConfig' object has no attribute 'width'")

    monkeypatch.setattr(models, where, failing)
    with pytest.raises(RefusedModel, match=r"type 'llama' cannot be built for causal-lm: AttributeError: .*'width'"):
        models.build(_request({"model_type": "llama", **SMALL}, "causal-lm"), layers=1)


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"hidden_act": "swishy"}, "hidden_act", "KeyError: 'swishy'"),
        ({"hidden_act": 5}, "hidden_act", "expected str, got int"),
        ({"intermediate_size": None}, "intermediate_size", "expected int, got NoneType"),
        ({"pad_token_id": 40}, "pad_token_id", "Padding_idx"),
        ({"model_type": "llama99", "transformers_version": "9.1.0"}, "model_type", "saved by 9.1.0"),
        ({"model_type": ["llama"]}, "model_type", "knows no model_type ['llama']"),
    ],
)
def test_values_that_an_architecture_does_not_take(fields: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(RefusedModel) as refused:
        _record({"model_type": "llama", **SMALL, **fields}, "causal-lm")
    assert refused.value.field == field
    assert said in refused.value.message
    assert refused.value.hint


def test_dimensions_that_do_not_fit_are_told_so() -> None:
    routed = {"moe_intermediate_size": 8, "n_routed_experts": 8, "num_experts_per_tok": 2, "first_k_dense_replace": 0}
    latent = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
    config = {"model_type": "deepseek_v3", **SMALL, **routed, **latent, "n_group": 3, "topk_group": 1}
    with pytest.raises(RefusedModel, match="DeepseekV3TopkRouter") as refused:
        _record({**config, "num_key_value_heads": 2}, "causal-lm")
    assert "dimensions" in refused.value.hint


def test_model_of_few_positions() -> None:
    text = {**SMALL, "max_position_embeddings": 32, "eos_token_id": 2}
    vision = {**SMALL, "image_size": 32, "patch_size": 16}
    config = {"model_type": "clip", "text_config": text, "vision_config": vision, "projection_dim": 16}
    assert trace(_request(config, "contrastive")).parameters > 0
    with pytest.raises(RefusedModel, match="takes 8 tokens") as refused:
        trace(_request({**config, "text_config": {**text, "max_position_embeddings": 8}}, "contrastive"))
    assert refused.value.field == "max_position_embeddings"


@pytest.mark.parametrize(
    ("config", "task", "lengths"),
    [
        ({"chunk_size": 256}, "causal-lm", (256, 512, 768)),
        ({"mamba_chunk_size": 256, "layer_types": ["mamba", "attention"]}, "causal-lm", (256, 512, 768)),
        ({"mamba_chunk_size": 256, "layer_types": ["attention"] * 2}, "causal-lm", (128, 256, 384)),
        ({"chunk_size": 256, "max_position_embeddings": 512}, "causal-lm", (128, 256, 384)),
        ({"max_position_embeddings": 77}, "causal-lm", (16, 32, 48)),
        ({"max_position_embeddings": 40}, "causal-lm", (4, 8, 12)),
        # A target is a quarter: 8, 16 and 24 tokens would pad differently.
        ({"max_position_embeddings": 128}, "seq2seq-lm", (16, 32, 48)),
        ({"max_position_embeddings": 256}, "seq2seq-lm", (64, 128, 192)),
        ({"conv_stride": [5], "feat_extract_norm": "group"}, "speech-ctc", (24_000, 48_000, 72_000)),
        ({"conv_stride": [5], "feat_extract_norm": "layer"}, "speech-ctc", (128_000, 256_000, 384_000)),
        ({"num_mel_bins": 80}, "speech-ctc", (24_000, 48_000, 72_000)),
    ],
)
def test_lengths_that_are_recorded(config: dict[str, Any], task: str, lengths: tuple[int, ...]) -> None:
    points = samples_for(_request(config, task), config, with_rank=False).points
    assert tuple(dict.fromkeys(point.length for point in points)) == lengths


def test_models_that_run_token_by_token_are_told_so() -> None:
    config = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 40, "state_size": 8}
    with pytest.raises(TaskError, match=r"mamba cannot be traced for causal-lm: .* the length of samples") as refused:
        trace(_request({**config, "max_position_embeddings": 12}, "causal-lm"))
    assert "one after the other" in str(refused.value.hint)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "wav2vec2", "feat_extract_norm": "layer", "do_stable_layer_norm": True},
        {"model_type": "data2vec-audio"},
        {"model_type": "sew", "conv_dim": [16] * 13},
        {"model_type": "wav2vec2-conformer"},
    ],
)
def test_speech_models_with_masks_are_recorded_at_lengths_that_pad_alike(config: dict[str, Any]) -> None:
    made = trace(_request({**SPEECH, **config}, "audio-classification", precision="bf16-mixed"))
    assert made.parameters > 0
