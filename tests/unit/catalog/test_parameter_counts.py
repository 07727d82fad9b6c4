"""The parameter formulas against the modules that transformers really builds (on meta tensors)."""

from typing import Any

import pytest

from manager.catalog.model_configs import SUPPORTED_MODEL_TYPES, shape_from_mapping
from manager.catalog.model_shape import classifier_parameters

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
# DeBERTa's module still uses torch.jit.script, which torch 2.13 deprecates.
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")]

_SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 112,
    "vocab_size": 301,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2, "max_position_embeddings": 64}
_DEBERTA = {**_SMALL, "max_position_embeddings": 64, "relative_attention": True, "pos_att_type": "p2c|c2p"}

CONFIGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("bert", {**_SMALL, "type_vocab_size": 2, "max_position_embeddings": 64}),
    ("roberta", {**_SMALL, "type_vocab_size": 1, "max_position_embeddings": 66}),
    ("xlm-roberta", {**_SMALL, "type_vocab_size": 1, "max_position_embeddings": 66}),
    ("camembert", {**_SMALL, "type_vocab_size": 1, "max_position_embeddings": 66}),
    ("electra", {**_SMALL, "embedding_size": 20}),
    ("electra", {**_SMALL, "embedding_size": 48}),
    ("mpnet", {**_SMALL, "max_position_embeddings": 66}),
    ("distilbert", {"dim": 48, "n_layers": 3, "n_heads": 4, "hidden_dim": 100, "vocab_size": 301}),
    ("deberta-v2", {**_SMALL}),
    ("deberta-v2", {**_DEBERTA, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True}),
    ("deberta-v2", {**_DEBERTA, "position_biased_input": False, "type_vocab_size": 0, "conv_kernel_size": 3}),
    ("modernbert", {**_SMALL, "pad_token_id": 0}),
    ("modernbert", {**_SMALL, "pad_token_id": 0, "norm_bias": True, "attention_bias": True, "mlp_bias": True}),
    ("gpt2", {"n_embd": 48, "n_layer": 3, "n_head": 4, "vocab_size": 301, "n_positions": 64}),
    ("gpt2", {"n_embd": 48, "n_layer": 3, "n_head": 4, "vocab_size": 301, "n_inner": 100}),
    ("opt", {**_SMALL, "ffn_dim": 100, "max_position_embeddings": 64, "word_embed_proj_dim": 48}),
    ("opt", {**_SMALL, "ffn_dim": 100, "word_embed_proj_dim": 24, "do_layer_norm_before": False}),
    ("phi", {**_GROUPED, "qk_layernorm": True}),
    ("llama", {**_GROUPED}),
    ("llama", {**_GROUPED, "attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    ("mistral", {**_GROUPED, "head_dim": 20}),
    ("qwen2", {**_GROUPED}),
    ("qwen3", {**_GROUPED, "head_dim": 16}),
    ("qwen3", {**_GROUPED, "head_dim": 16, "attention_bias": True}),
    ("smollm3", {**_GROUPED, "pad_token_id": 0}),
    ("gemma", {**_GROUPED, "head_dim": 16}),
    ("gemma2", {**_GROUPED, "head_dim": 16}),
    ("gemma3_text", {**_GROUPED, "head_dim": 16}),
    ("phi3", {**_GROUPED, "pad_token_id": 0}),
)


@pytest.mark.parametrize(("model_type", "fields"), CONFIGS)
def test_formula_equals_the_real_module(model_type: str, fields: dict[str, Any]) -> None:
    config = transformers.AutoConfig.for_model(model_type, **fields, num_labels=5)
    with torch.device("meta"):
        model = transformers.AutoModelForSequenceClassification.from_config(config)

    shape = shape_from_mapping(config.to_dict(), name="tiny", source="test")

    assert shape.parameters == sum(p.numel() for p in model.base_model.parameters())
    total = shape.parameters + classifier_parameters(shape, num_labels=5)
    assert total == sum(p.numel() for p in model.parameters())
    assert shape.embedding_parameters <= shape.parameters


def test_every_supported_type_is_compared() -> None:
    assert {model_type for model_type, _ in CONFIGS} == set(SUPPORTED_MODEL_TYPES)
