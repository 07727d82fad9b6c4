"""Shapes and parameter counts of decoders; formulas follow the modules of transformers 5 (`models/<type>/`)."""

from __future__ import annotations

from dataclasses import dataclass

from manager.catalog.config_reader import ConfigReader
from manager.catalog.encoder_shapes import layer_norm, linear
from manager.catalog.model_shape import ModelShape

_OPT_POSITION_OFFSET = 2
"""OPT's table of positions has two rows more than positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LlamaTraits:
    """In what a relative of Llama differs from Llama."""

    query_bias: bool | None
    """Bias of query, key and value; None: as `attention_bias` says."""
    output_bias: bool | None
    """Bias of attention's output; None: as `attention_bias` says."""
    head_norms: bool = False
    """A norm over each head's query and key."""
    norms_per_layer: int = 2
    default_head_dim: int | None = None
    """Where the config does not say; None: hidden_size / attention_heads."""
    tied_by_default: bool = False


_LLAMA_TRAITS = {
    "llama": _LlamaTraits(query_bias=None, output_bias=None),
    "mistral": _LlamaTraits(query_bias=False, output_bias=False),
    "smollm3": _LlamaTraits(query_bias=None, output_bias=None, tied_by_default=True),
    "qwen2": _LlamaTraits(query_bias=True, output_bias=False),
    "qwen3": _LlamaTraits(query_bias=None, output_bias=None, head_norms=True, default_head_dim=128),
    "phi3": _LlamaTraits(query_bias=False, output_bias=False),
    "gemma": _LlamaTraits(query_bias=None, output_bias=None, default_head_dim=256, tied_by_default=True),
    "gemma2": _LlamaTraits(
        query_bias=None, output_bias=None, norms_per_layer=4, default_head_dim=256, tied_by_default=True
    ),
    "gemma3_text": _LlamaTraits(
        query_bias=None,
        output_bias=None,
        head_norms=True,
        norms_per_layer=4,
        default_head_dim=256,
        tied_by_default=True,
    ),
}


def llama_like_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """Llama and its relatives: rotary positions, RMS norms, gated feed-forward, grouped keys and values."""
    model_type = config.text("model_type") or "llama"
    traits = _LLAMA_TRAITS[model_type]
    hidden = config.size("hidden_size")
    layers = config.size("num_hidden_layers")
    heads = config.size("num_attention_heads")
    key_values = config.size("num_key_value_heads", default=heads)
    head_dim = config.size("head_dim", default=traits.default_head_dim or hidden // heads)
    intermediate = config.size("intermediate_size")
    vocabulary = config.size("vocab_size")
    attention_bias = config.flag("attention_bias", default=False)
    query_bias = attention_bias if traits.query_bias is None else traits.query_bias
    output_bias = attention_bias if traits.output_bias is None else traits.output_bias
    mlp_bias = model_type == "llama" and config.flag("mlp_bias", default=False)
    attention = linear(hidden, heads * head_dim, bias=query_bias) + linear(heads * head_dim, hidden, bias=output_bias)
    attention += 2 * linear(hidden, key_values * head_dim, bias=query_bias)
    attention += 2 * head_dim if traits.head_norms else 0
    feed_forward = 2 * linear(hidden, intermediate, bias=mlp_bias) + linear(intermediate, hidden, bias=mlp_bias)
    layer = attention + feed_forward + traits.norms_per_layer * hidden
    return ModelShape(
        name=name,
        model_type=model_type,
        family="decoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=key_values,
        head_dim=head_dim,
        vocabulary_size=vocabulary,
        max_positions=config.size("max_position_embeddings") if config.has("max_position_embeddings") else None,
        position_table_size=0,
        type_vocabulary_size=0,
        embedding_size=hidden,
        gated_mlp=True,
        tied_embeddings=config.flag("tie_word_embeddings", default=traits.tied_by_default),
        parameters=vocabulary * hidden + layers * layer + hidden,
        embedding_parameters=vocabulary * hidden,
        has_pooler=False,
        head_width=hidden,
        head_bias=False,
        head_hidden_parameters=0,
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def gpt2_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """GPT-2: pre-norm, learned positions, everything with bias."""
    hidden = config.size("n_embd", "hidden_size")
    layers = config.size("n_layer", "num_hidden_layers")
    heads = config.size("n_head", "num_attention_heads")
    vocabulary = config.size("vocab_size")
    positions = config.size("n_positions", "max_position_embeddings", default=1024)
    intermediate = config.size("n_inner", default=4 * hidden)
    tables = (vocabulary + positions) * hidden
    feed_forward = linear(hidden, intermediate) + linear(intermediate, hidden)
    layer = linear(hidden, 3 * hidden) + linear(hidden, hidden) + feed_forward + 2 * layer_norm(hidden)
    return ModelShape(
        name=name,
        model_type="gpt2",
        family="decoder",
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
        parameters=tables + layers * layer + layer_norm(hidden),
        embedding_parameters=tables,
        has_pooler=False,
        head_width=hidden,
        head_bias=False,
        head_hidden_parameters=0,
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def opt_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """OPT: learned positions; small and large ones differ in the norm and in the embedding's width."""
    hidden = config.size("hidden_size")
    layers = config.size("num_hidden_layers")
    heads = config.size("num_attention_heads")
    intermediate = config.size("ffn_dim")
    vocabulary = config.size("vocab_size")
    positions = config.size("max_position_embeddings", default=2048)
    width = config.size("word_embed_proj_dim", default=hidden)
    bias = config.flag("enable_bias", default=True)
    norm = layer_norm(hidden) if config.flag("layer_norm_elementwise_affine", default=True) else 0
    position_rows = positions + _OPT_POSITION_OFFSET
    tables = vocabulary * width + position_rows * hidden
    total = tables + (2 * linear(width, hidden, bias=False) if width != hidden else 0)
    feed_forward = linear(hidden, intermediate, bias=bias) + linear(intermediate, hidden, bias=bias)
    total += layers * (4 * linear(hidden, hidden, bias=bias) + feed_forward + 2 * norm)
    last_norm_removed = config.flag("_remove_final_layer_norm", default=False)
    if config.flag("do_layer_norm_before", default=True) and not last_norm_removed:
        total += norm
    return ModelShape(
        name=name,
        model_type="opt",
        family="decoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=heads,
        head_dim=hidden // heads,
        vocabulary_size=vocabulary,
        max_positions=positions,
        position_table_size=position_rows,
        type_vocabulary_size=0,
        embedding_size=width,
        gated_mlp=False,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        parameters=total,
        embedding_parameters=tables,
        has_pooler=False,
        head_width=width,
        head_bias=False,
        head_hidden_parameters=0,
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )


def phi_shape(config: ConfigReader, name: str, source: str) -> ModelShape:
    """Phi-1 to Phi-2: rotary positions, attention and feed-forward in parallel behind one norm, all with bias."""
    hidden = config.size("hidden_size")
    layers = config.size("num_hidden_layers")
    heads = config.size("num_attention_heads")
    key_values = config.size("num_key_value_heads", default=heads)
    head_dim = config.size("head_dim", default=hidden // heads)
    intermediate = config.size("intermediate_size")
    vocabulary = config.size("vocab_size")
    attention = linear(hidden, heads * head_dim) + 2 * linear(hidden, key_values * head_dim)
    attention += linear(heads * head_dim, hidden)
    attention += 2 * layer_norm(head_dim) if config.flag("qk_layernorm", default=False) else 0
    layer = attention + linear(hidden, intermediate) + linear(intermediate, hidden) + layer_norm(hidden)
    return ModelShape(
        name=name,
        model_type="phi",
        family="decoder",
        layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        attention_heads=heads,
        key_value_heads=key_values,
        head_dim=head_dim,
        vocabulary_size=vocabulary,
        max_positions=config.size("max_position_embeddings") if config.has("max_position_embeddings") else None,
        position_table_size=0,
        type_vocabulary_size=0,
        embedding_size=hidden,
        gated_mlp=False,
        tied_embeddings=config.flag("tie_word_embeddings", default=False),
        parameters=vocabulary * hidden + layers * layer + layer_norm(hidden),
        embedding_parameters=vocabulary * hidden,
        has_pooler=False,
        head_width=hidden,
        head_bias=False,
        head_hidden_parameters=0,
        stored_dtype=config.text("dtype", "torch_dtype"),
        weights_bytes=None,
        source=source,
    )
