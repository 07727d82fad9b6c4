"""Which configs are the same model, and what a trace's key depends on."""

from __future__ import annotations

import pytest

from manager.profiling.trace_key import config_key

_CONFIG = {"model_type": "bert", "hidden_size": 768}
_LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
"""An 8B decoder's shapes."""


def test_a_config_that_spells_out_its_defaults_is_the_same_model() -> None:
    spelled = {**_CONFIG, "hidden_act": "gelu", "position_embedding_type": "absolute", "gradient_checkpointing": False}
    assert config_key(spelled) == config_key(_CONFIG)
    assert config_key({**_CONFIG, "layer_norm_eps": 1e-5}) == config_key(_CONFIG)
    assert config_key({**_CONFIG, "hidden_act": "relu"}) != config_key(_CONFIG)


def test_a_tuned_descendant_of_another_version_is_the_same_model() -> None:
    descendant = {
        **_LLAMA,
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 128000,
        "dtype": "bfloat16",
        "eos_token_id": [128001, 128009],
        "head_dim": 128,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
        "transformers_version": "5.1.0",
    }
    assert config_key(descendant) == config_key(_LLAMA)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"head_dim": 128}, {"head_dim": 64}),
        ({"head_dim": 64}, {}),
        ({"num_key_value_heads": 32}, {"num_key_value_heads": 8}),
    ],
)
def test_fields_that_a_class_derives_count_where_they_differ(one: dict[str, int], other: dict[str, int]) -> None:
    assert config_key({**_LLAMA, **one}) != config_key({**_LLAMA, **other})


def test_derived_fields_say_nothing_where_they_are_as_derived() -> None:
    wide = {"model_type": "llama", "hidden_size": 8192, "num_attention_heads": 64}
    assert config_key({**wide, "head_dim": 128, "num_key_value_heads": 64}) == config_key(wide)
    assert config_key({**wide, "num_key_value_heads": 32}) != config_key(wide)
    windows = {"use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 21}
    qwen = {"model_type": "qwen2", "num_hidden_layers": 24, "layer_types": ["full_attention"] * 24}
    assert config_key({**qwen, **windows}) == config_key({"model_type": "qwen2", "num_hidden_layers": 24})
    assert config_key({**qwen, **windows, "use_sliding_window": True}) != config_key(qwen)


def test_positions_of_a_table_count() -> None:
    short = {**_CONFIG, "max_position_embeddings": 128}
    assert config_key(short) != config_key({**_CONFIG, "max_position_embeddings": 512})


def test_the_defaults_of_a_nested_config_are_its_own_types() -> None:
    one = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560}}
    other = {
        "model_type": "gemma3",
        "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "use_cache": True},
    }
    assert config_key(one) == config_key(other)
