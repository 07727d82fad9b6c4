"""Shapes and parameter counts of encoders; formulas follow the modules of transformers 5 (`models/<type>/`)."""

from __future__ import annotations

from manager.catalog.config_reader import ConfigReader
from manager.catalog.model_shape import ModelShape

_LEARNED_OFFSET_TYPES = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Here positions start behind the padding index, so that many rows of the table are never used."""


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Parameters of a linear layer."""
    return inputs * outputs + (outputs if bias else 0)


def layer_norm(width: int, *, bias: bool = True) -> int:
    """Parameters of a normalization with a gain per channel, and a shift when it has a bias."""
    return 2 * width if bias else width


def bert_like_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA, MPNet: post-norm layers, learned positions."""
    model_type = config.text("model_type") or "bert"
    hidden = config.size("hidden_size")
    layers = config.size("num_hidden_layers")
    heads = config.size("num_attention_heads")
    intermediate = config.size("intermediate_size")
    vocabulary = config.size("vocab_size")
    positions = config.size("max_position_embeddings", default=512)
    types = 0 if model_type == "mpnet" else config.count("type_vocab_size", default=2)
    width = config.size("embedding_size", default=128) if model_type == "electra" else hidden
    tables = (vocabulary + positions + types) * width
    total = tables + layer_norm(width) + layers * _post_norm_layer(hidden, intermediate)
    if width != hidden:
        total += linear(width, hidden)
    if model_type == "bert":
        total += linear(hidden, hidden)  # the pooler, which belongs to the backbone here alone
    if model_type == "mpnet":
        total += config.size("relative_attention_num_buckets", default=32) * heads
    padding = config.count("pad_token_id", default=1)
    return ModelShape(
        name=name,
        model_type=model_type,
        family="encoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        vocabulary_size=vocabulary,
        max_positions=positions - padding - 1 if model_type in _LEARNED_OFFSET_TYPES else positions,
        position_table_size=positions,
        type_vocabulary_size=types,
        embedding_size=width,
        gated_mlp=False,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        parameters=total,
        embedding_parameters=tables,
        has_pooler=model_type == "bert",
        head_width=hidden,
        head_bias=True,
        head_hidden_parameters=0 if model_type == "bert" else linear(hidden, hidden),
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def distilbert_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """DistilBERT: BERT's layers under other field names, no token types, no pooler."""
    hidden = config.size("dim", "hidden_size")
    layers = config.size("n_layers", "num_hidden_layers")
    heads = config.size("n_heads", "num_attention_heads")
    intermediate = config.size("hidden_dim")
    vocabulary = config.size("vocab_size")
    positions = config.size("max_position_embeddings", default=512)
    tables = (vocabulary + positions) * hidden
    return ModelShape(
        name=name,
        model_type="distilbert",
        family="encoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        vocabulary_size=vocabulary,
        max_positions=positions,
        position_table_size=positions,
        type_vocabulary_size=0,
        embedding_size=hidden,
        gated_mlp=False,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        parameters=tables + layer_norm(hidden) + layers * _post_norm_layer(hidden, intermediate),
        embedding_parameters=tables,
        has_pooler=False,
        head_width=hidden,
        head_bias=True,
        head_hidden_parameters=linear(hidden, hidden),
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def deberta_v2_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """DeBERTa v2 and v3: disentangled attention over relative positions."""
    hidden = config.size("hidden_size")
    layers = config.size("num_hidden_layers")
    heads = config.size("num_attention_heads")
    intermediate = config.size("intermediate_size")
    vocabulary = config.size("vocab_size")
    positions = config.size("max_position_embeddings", default=512)
    types = config.count("type_vocab_size", default=0)
    width = config.size("embedding_size", default=hidden)
    head_dim = config.size("attention_head_size", default=hidden // heads)
    position_rows = positions if config.flag("position_biased_input", default=True) else 0
    tables = (vocabulary + position_rows + types) * width
    total = tables + layer_norm(hidden) + (linear(width, hidden, bias=False) if width != hidden else 0)
    total += _deberta_relative_positions(config, hidden, positions) + _deberta_convolution(config, hidden)
    attention = 3 * linear(hidden, heads * head_dim) + _deberta_position_projections(config, hidden, heads * head_dim)
    feed_forward = linear(hidden, intermediate) + linear(intermediate, hidden)
    total += layers * (attention + linear(hidden, hidden) + feed_forward + 2 * layer_norm(hidden))
    return ModelShape(
        name=name,
        model_type="deberta-v2",
        family="encoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=heads,
        head_dim=head_dim,
        vocabulary_size=vocabulary,
        max_positions=positions,
        position_table_size=position_rows,
        type_vocabulary_size=types,
        embedding_size=width,
        gated_mlp=False,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        parameters=total,
        embedding_parameters=tables,
        has_pooler=False,
        head_width=hidden,
        head_bias=True,
        head_hidden_parameters=linear(hidden, hidden),
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def modernbert_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """ModernBERT: pre-norm, rotary positions, gated feed-forward; the first layer has no norm before attention."""
    hidden = config.size("hidden_size")
    layers = config.size("num_hidden_layers")
    heads = config.size("num_attention_heads")
    intermediate = config.size("intermediate_size")
    vocabulary = config.size("vocab_size")
    attention_bias = config.flag("attention_bias", default=False)
    mlp_bias = config.flag("mlp_bias", default=False)
    norm = layer_norm(hidden, bias=config.flag("norm_bias", default=False))
    attention = linear(hidden, 3 * hidden, bias=attention_bias) + linear(hidden, hidden, bias=attention_bias)
    feed_forward = linear(hidden, 2 * intermediate, bias=mlp_bias) + linear(intermediate, hidden, bias=mlp_bias)
    # Norms: one behind the embeddings, one at the end, two a layer less the first layer's.
    total = vocabulary * hidden + layers * (attention + feed_forward) + (2 * layers + 1) * norm
    return ModelShape(
        name=name,
        model_type="modernbert",
        family="encoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        vocabulary_size=vocabulary,
        max_positions=config.size("max_position_embeddings", default=8192),
        position_table_size=0,
        type_vocabulary_size=0,
        embedding_size=hidden,
        gated_mlp=True,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        parameters=total,
        embedding_parameters=vocabulary * hidden,
        has_pooler=False,
        head_width=hidden,
        head_bias=True,
        head_hidden_parameters=linear(hidden, hidden, bias=config.flag("classifier_bias", default=False)) + norm,
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def _post_norm_layer(hidden: int, intermediate: int) -> int:
    """Four projections of attention, two of the feed-forward block, two norms; all with bias."""
    feed_forward = linear(hidden, intermediate) + linear(intermediate, hidden)
    return 4 * linear(hidden, hidden) + feed_forward + 2 * layer_norm(hidden)


def _deberta_relative_positions(config: ConfigReader, hidden: int, positions: int) -> int:
    if not config.flag("relative_attention", default=False):
        return 0
    buckets = _positive_or(config, "position_buckets", _positive_or(config, "max_relative_positions", positions))
    norm = layer_norm(hidden) if "layer_norm" in config.words("norm_rel_ebd", separator="|") else 0
    return 2 * buckets * hidden + norm


def _deberta_position_projections(config: ConfigReader, hidden: int, width: int) -> int:
    if not config.flag("relative_attention", default=False) or config.flag("share_att_key", default=False):
        return 0
    kinds = config.words("pos_att_type", separator="|")
    return sum(linear(hidden, width) for kind in ("c2p", "p2c") if kind in kinds)


def _deberta_convolution(config: ConfigReader, hidden: int) -> int:
    kernel = config.count("conv_kernel_size", default=0)
    if kernel == 0:
        return 0
    groups = config.size("conv_groups", default=1)
    return hidden * (hidden // groups) * kernel + hidden + layer_norm(hidden)


def _positive_or(config: ConfigReader, name: str, fallback: int) -> int:
    """DeBERTa writes -1 for `not set`."""
    return config.size(name) if config.is_positive(name) else fallback
