"""Configs from the wild: each gives an entry, or an error that names the field and says what to do."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manager.catalog.config_check import checked_config, max_positions, stored_dtype, tasks_of
from manager.errors import DataError

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 300,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 300, "n_positions": 128}
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": 14,
}


def _without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


ACCEPTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "plain": (LLAMA, "llama", "causal-lm"),
    "model_type from architectures": (_without(LLAMA, "model_type"), "llama", "causal-lm"),
    "empty model_type": ({**LLAMA, "model_type": ""}, "llama", "causal-lm"),
    "gpt2 with its own names": (GPT2, "gpt2", "causal-lm"),
    "gpt2 with the common names": (
        {"model_type": "gpt2", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300},
        "gpt2",
        "causal-lm",
    ),
    "both names of one dimension, equal": ({**GPT2, "hidden_size": 64}, "gpt2", "causal-lm"),
    "old name of bloom": (
        {"model_type": "bloom", "n_embed": 64, "n_layer": 2, "num_attention_heads": 4, "vocab_size": 300},
        "bloom",
        "causal-lm",
    ),
    "dim of distilbert": (
        {"model_type": "distilbert", "dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 96, "vocab_size": 100},
        "distilbert",
        "text-classification",
    ),
    "d_model of mpt": (
        {"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 300, "max_seq_len": 128},
        "mpt",
        "causal-lm",
    ),
    "tied weights": ({**LLAMA, "tie_word_embeddings": True}, "llama", "causal-lm"),
    "null key-value heads": ({**LLAMA, "num_key_value_heads": None}, "llama", "causal-lm"),
    "null rope_scaling and quantization": (
        {**LLAMA, "rope_scaling": None, "quantization_config": None, "sliding_window": None},
        "llama",
        "causal-lm",
    ),
    "sliding window": ({**LLAMA, "model_type": "mistral", "sliding_window": 128}, "mistral", "causal-lm"),
    "no sliding window": ({**LLAMA, "model_type": "mistral", "sliding_window": None}, "mistral", "causal-lm"),
    "odd number of heads": ({**LLAMA, "num_attention_heads": 8, "hidden_size": 96}, "llama", "causal-lm"),
    "head_dim apart from the hidden size": (
        {**LLAMA, "model_type": "qwen3", "hidden_size": 65, "head_dim": 32},
        "qwen3",
        "causal-lm",
    ),
    "linear rope": ({**LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}}, "llama", "causal-lm"),
    "llama3 rope": (
        {**LLAMA, "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}},
        "llama",
        "causal-lm",
    ),
    "rope by kind of layer": (
        {**LLAMA, "rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {}}},
        "llama",
        "causal-lm",
    ),
    "code of the hub for a type that transformers has": (
        {**LLAMA, "model_type": "phi3", "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}},
        "phi3",
        "causal-lm",
    ),
    "unknown type of a newer transformers": (
        {**LLAMA, "model_type": "llama9", "architectures": ["Llama9ForCausalLM"]},
        "llama9",
        "causal-lm",
    ),
    "nested text config without defaults": (
        {
            "model_type": "llava",
            "text_config": {"model_type": "llama", "vocab_size": 32064},
            "vision_config": {"model_type": "clip_vision_model", **VISION},
        },
        "llava",
        "image-text-to-text",
    ),
    "stages of a convolutional model": (
        {"model_type": "convnext", "depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]},
        "convnext",
        "image-classification",
    ),
    "stages of swin": (
        {"model_type": "swin", "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "image_size": 224},
        "swin",
        "image-classification",
    ),
    "timm": (
        {"architecture": "resnet50", "num_classes": 1000, "pretrained_cfg": {"input_size": [3, 224, 224]}},
        "timm_wrapper",
        "image-classification",
    ),
    "experts": (
        {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
        "mixtral",
        "causal-lm",
    ),
    "fields nobody knows": (
        {**LLAMA, "my_field": {"deep": [1, "x"]}, "transformers_version": "4.1"},
        "llama",
        "causal-lm",
    ),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no type at all": (_without(LLAMA, "model_type", "architectures"), "'model_type'"),
    "type is a number": ({**LLAMA, "model_type": 5}, "'model_type' is 5"),
    "architectures is a text": (
        {**_without(LLAMA, "model_type"), "architectures": "LlamaForCausalLM"},
        "'architectures'",
    ),
    "unknown type and class": ({**LLAMA, "model_type": "rnn", "architectures": ["Rnn"]}, "'model_type' is 'rnn'"),
    "code of the hub": (
        {**LLAMA, "model_type": "chatglm", "auto_map": {"AutoModel": "modeling_chatglm.ChatGLM"}},
        "'auto_map'",
    ),
    "gptq": ({**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}}, "'quantization_config' is 'gptq'"),
    "awq": ({**LLAMA, "quantization_config": {"quant_method": "awq"}}, "'quantization_config' is 'awq'"),
    "bitsandbytes": ({**LLAMA, "quantization_config": {"load_in_4bit": True}}, "'quantization_config'"),
    "compressed tensors": ({**LLAMA, "compression_config": {"format": "pack"}}, "'compression_config'"),
    "mlx": ({**LLAMA, "quantization": {"bits": 4, "group_size": 64}}, "'quantization'"),
    "quantized inside": (
        {"model_type": "llava", "text_config": {"quantization_config": {"quant_method": "gptq"}}},
        "'text_config.quantization_config'",
    ),
    "missing vocabulary": (_without(LLAMA, "vocab_size"), "no field 'vocab_size'"),
    "null vocabulary": ({**LLAMA, "vocab_size": None}, "no field 'vocab_size'"),
    "missing hidden size": (_without(LLAMA, "hidden_size"), "no field 'hidden_size'"),
    "renamed hidden size": ({**_without(LLAMA, "hidden_size"), "n_embd": 64}, "does not read the field 'n_embd'"),
    "renamed layers": ({**_without(LLAMA, "num_hidden_layers"), "n_layers": 2}, "does not read the field 'n_layers'"),
    "renamed heads": ({**_without(GPT2, "n_head"), "n_heads": 4}, "does not read the field 'n_heads'"),
    "renamed vocabulary": ({**_without(BERT, "vocab_size"), "n_vocab": 9}, "does not read the field 'n_vocab'"),
    "two names that differ": ({**GPT2, "hidden_size": 128}, "'n_embd' (64) and 'hidden_size' (128)"),
    "text for a number": ({**LLAMA, "hidden_size": "64"}, "'hidden_size' is '64'"),
    "float for a number": ({**LLAMA, "num_hidden_layers": 2.5}, "'num_hidden_layers' is 2.5"),
    "truth for a number": ({**LLAMA, "vocab_size": True}, "'vocab_size' is True"),
    "list for a number": ({**LLAMA, "hidden_size": [64]}, "'hidden_size' is [64]"),
    "negative layers": ({**LLAMA, "num_hidden_layers": -2}, "'num_hidden_layers' is -2"),
    "no layers": ({**LLAMA, "num_hidden_layers": 0}, "'num_hidden_layers' is 0"),
    "huge hidden size": ({**LLAMA, "hidden_size": 10**12}, "'hidden_size' is 1000000000000"),
    "huge vocabulary": ({**LLAMA, "vocab_size": 10**40}, "'vocab_size'"),
    "negative window": ({**LLAMA, "sliding_window": -1}, "'sliding_window' is -1"),
    "hidden size and heads": (
        {**LLAMA, "hidden_size": 65},
        "'hidden_size' (65) is not a multiple of 'num_attention_heads'",
    ),
    "heads and key-value heads": ({**LLAMA, "num_key_value_heads": 3}, "'num_key_value_heads' (3)"),
    "odd size of a head": ({**LLAMA, "hidden_size": 60}, "is 15: rotary positions need an even size"),
    "odd head_dim": ({**LLAMA, "head_dim": 15}, "'head_dim' is 15"),
    "no head_dim": ({**LLAMA, "head_dim": 0}, "'head_dim' is 0"),
    "rope of an unknown kind": ({**LLAMA, "rope_scaling": {"type": "magic"}}, "'rope_scaling.rope_type' is 'magic'"),
    "rope is a number": ({**LLAMA, "rope_scaling": 2.0}, "'rope_scaling' is 2.0"),
    "rope factor is a text": ({**LLAMA, "rope_scaling": {"type": "linear", "factor": "2"}}, "'rope_scaling.factor'"),
    "negative rope factor": ({**LLAMA, "rope_scaling": {"type": "linear", "factor": -2}}, "'rope_scaling.factor'"),
    "dtype is unknown": ({**LLAMA, "torch_dtype": "int3"}, "'torch_dtype' is 'int3'"),
    "dtype is a number": ({**LLAMA, "dtype": 16}, "'dtype' is 16"),
    "tied is a text": ({**LLAMA, "tie_word_embeddings": "true"}, "'tie_word_embeddings' is 'true'"),
    "text config is a text": ({"model_type": "llava", "text_config": "llama"}, "'text_config' is 'llama'"),
    "more experts chosen than there are": (
        {**LLAMA, "model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 8},
        "'num_experts_per_tok' (8)",
    ),
    "layer types of another depth": ({**LLAMA, "layer_types": ["full_attention"]}, "'layer_types' has 1 entries"),
    "layer types is a text": ({**LLAMA, "layer_types": "full"}, "'layer_types' is 'full'"),
    "timm without a name": ({"architecture": None, "pretrained_cfg": {}}, "'architecture'"),
    "timm with a path": ({"architecture": "../resnet50"}, "'architecture'"),
    "timm with a file": ({"architecture": "resnet50", "model_args": {"checkpoint_path": "x"}}, "'model_args'"),
    "timm with a file as shape": ({"architecture": "resnet50", "model_args": {"global_pool": "/x"}}, "global_pool"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    config, model_type, task = ACCEPTED[name]
    found = checked_config(config, "test/model")
    assert found["model_type"] == model_type
    assert tasks_of(found, "test/model")[0] == task


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_field_with_a_hint(name: str) -> None:
    config, message = REFUSED[name]
    with pytest.raises(DataError) as caught:
        tasks_of(checked_config(config, "test/model"), "test/model")
    assert message in caught.value.message
    assert "test/model" in caught.value.message
    assert caught.value.hint


def test_nothing_but_the_type_is_changed() -> None:
    config = _without(LLAMA, "model_type")
    assert checked_config(config, "test/model") == LLAMA
    assert "model_type" not in config


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "bfloat16", "torch_dtype": "float32"}, "bfloat16"),
        ({"torch_dtype": "torch.float16"}, "float16"),
        ({"torch_dtype": None}, None),
        ({"torch_dtype": "auto"}, None),
        ({"text_config": {"torch_dtype": "float16"}}, "float16"),
    ],
)
def test_stored_dtype(fields: dict[str, Any], dtype: str | None) -> None:
    assert stored_dtype(fields, "test/model") == dtype


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (LLAMA, 512),
        (GPT2, 128),
        ({**BERT, "model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "t5", "n_positions": 512, "max_position_embeddings": 512}, None),
        ({"model_type": "vit", **VISION}, None),
        ({"model_type": "whisper", "max_target_positions": 448, "max_source_positions": 1500}, 448),
        ({"model_type": "llava", "text_config": {"model_type": "llama", "max_position_embeddings": 4096}}, 4096),
        ({"model_type": "clip", "text_config": {"max_position_embeddings": 77}}, 77),
        ({"model_type": "bert"}, None),
    ],
)
def test_longest_text(config: dict[str, Any], positions: int | None) -> None:
    assert max_positions(config) == positions


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
_OTHER_FIELDS = [
    "head_dim",
    "rope_scaling",
    "rope_parameters",
    "layer_types",
    "sliding_window",
    "text_config",
    "vision_config",
    "auto_map",
    "quantization_config",
    "dtype",
    "tie_word_embeddings",
    "architecture",
    "n_embd",
    "pretrained_cfg",
]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.dictionaries(st.sampled_from([*LLAMA, *_OTHER_FIELDS]), _VALUES, max_size=4))
def test_any_value_in_any_field_ends_in_a_config_or_a_refusal_by_field(changes: dict[str, Any]) -> None:
    refusal = _refusal({**LLAMA, **changes})
    if refusal is not None:
        assert any(f"'{name}" in refusal.message for name in changes)
        assert refusal.hint


def _refusal(config: dict[str, Any]) -> DataError | None:
    try:
        found = checked_config(config, "test/model")
        tasks_of(found, "test/model")
        stored_dtype(found, "test/model")
        max_positions(found)
    except DataError as error:
        return error
    return None
