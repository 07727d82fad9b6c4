"""Whether the dimensions in a config.json are there, are plausible numbers and fit together.

Bounds are far above any published model; they catch a slipped digit, which would otherwise end in an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.catalog.config_defaults import defaults_of
from manager.catalog.config_fields import field_error, whole_number
from manager.catalog.model_types import ModelType
from manager.errors import DataError

_HIDDEN = ("hidden_size", "d_model", "n_embd", "n_embed", "dim", "model_dim", "d_embed", "embed_dim", "num_hidden")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "n_blocks", "depth")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_VOCABULARY = ("vocab_size", "n_vocab", "vocabulary_size", "n_token", "padded_vocab_size")
_KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "n_head_kv")
_HEAD_SIZES = ("head_dim", "d_kv", "d_head", "v_head_dim", "kv_channels")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN_EXPERTS = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_top_k")
_WIDEST = 2**20
_BOUNDS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(_HIDDEN, (1, _WIDEST)),
    **dict.fromkeys(_LAYERS, (1, 4096)),
    **dict.fromkeys(_HEADS, (1, 2**16)),
    **dict.fromkeys(_KEY_VALUE_HEADS, (1, 2**16)),
    **dict.fromkeys(_HEAD_SIZES, (0, 2**14)),
    **dict.fromkeys(_VOCABULARY, (1, 2**26)),
    **dict.fromkeys(_EXPERTS, (1, 2**14)),
    **dict.fromkeys(_CHOSEN_EXPERTS, (1, 2**14)),
    **dict.fromkeys(("intermediate_size", "d_ff", "ffn_dim", "n_inner", "hidden_dim", "d_inner"), (1, 2**24)),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "moe_intermediate_size"), (1, 2**24)),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers", "decoder_attention_heads"), (1, 4096)),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions"), (1, 2**28)),
    **dict.fromkeys(("type_vocab_size",), (0, 2**16)),
    **dict.fromkeys(("image_size", "patch_size", "num_channels"), (1, 2**16)),
    **dict.fromkeys(("sliding_window", "attention_chunk_size"), (0, 2**28)),
}


def check_dimensions(
    config: Mapping[str, Any], known: ModelType | None, where: str, *, is_nested: bool = False
) -> None:
    """Refuse dimensions that are missing, impossible or at odds.

    Args:
        config: a config.json, or the part of one that describes the language model.
        known: its type.
        where: which model it belongs to, for errors.
        is_nested: parts of composite configs are stored without the fields that equal the defaults of their class.

    Raises:
        DataError: the message names the field.
    """
    _check_bounds(config, known, where)
    if known is None:
        return
    for names, others in (
        (known.hidden_names, _HIDDEN),
        (known.layer_names, _LAYERS),
        (known.head_names, _HEADS),
        (known.vocabulary_names, _VOCABULARY),
    ):
        _check_names(config, known, names, others, where, is_nested=is_nested)
    _check_head_size(config, known, where)
    _check_experts(config, where)
    _check_layer_types(config, known, where)


def _check_bounds(config: Mapping[str, Any], known: ModelType | None, where: str) -> None:
    required = {
        names[0]
        for names in (
            (known.hidden_names, known.layer_names, known.head_names, known.vocabulary_names) if known else ()
        )
        if names
    }
    for name, (least, most) in _BOUNDS.items():
        value = config.get(name)
        # Models in stages write one number for each stage, and some a number for each side of an image.
        parts = value if isinstance(value, list) and value and name not in required else [value]
        for part in parts:
            whole_number({name: part}, name, where, at_least=least, at_most=most)


def _check_names(
    config: Mapping[str, Any],
    known: ModelType,
    names: tuple[str, ...],
    others: tuple[str, ...],
    where: str,
    *,
    is_nested: bool,
) -> None:
    """One dimension: there under a name that the type reads, and not twice with two values."""
    values = {name: config[name] for name in names if config.get(name) is not None}
    if len(set(values.values())) > 1:
        said = " and ".join(f"'{name}' ({value})" for name, value in values.items())
        raise DataError(
            f"config.json of {where}: the fields {said} mean the same and differ",
            hint=f"keep '{names[0]}' alone",
        )
    if values or not names:
        return
    for name in others:
        if config.get(name) is not None and name not in names and name not in _other_dimensions(known, names):
            raise DataError(
                f"config.json of {where}: model type '{known.name}' does not read the field '{name}'",
                hint=f"it names this dimension '{names[0]}'; rename the field, or correct model_type",
            )
    if not is_nested:
        raise field_error(where, names[0], None, "")


def _other_dimensions(known: ModelType, names: tuple[str, ...]) -> set[str]:
    """Names that the type reads as something else (`dim` and `hidden_dim` of DistilBERT)."""
    groups = (known.hidden_names, known.layer_names, known.head_names, known.vocabulary_names)
    return {name for group in groups if group is not names for name in group}


def _check_head_size(config: Mapping[str, Any], known: ModelType, where: str) -> None:
    hidden_name, hidden = _first(config, known.hidden_names)
    heads_name, heads = _first(config, known.head_names)
    size_name, size = _first(config, _HEAD_SIZES)
    if size_name and not size and not known.has_own_head_size:
        raise field_error(where, size_name, size, "a whole number above 0, or null")
    if hidden and heads and not size and not known.has_own_head_size and hidden % heads:
        raise DataError(
            f"config.json of {where}: '{hidden_name}' ({hidden}) is not a multiple of '{heads_name}' ({heads})",
            hint="correct one of them, or add 'head_dim' where the model type has it",
        )
    if not size and hidden and heads and not known.has_own_head_size:
        size_name, size = f"{hidden_name} / {heads_name}", hidden // heads
    if known.is_rotary and size and size % 2 and not known.has_own_head_size:
        raise DataError(
            f"config.json of {where}: '{size_name}' is {size}: rotary positions need an even size of a head",
            hint="correct the dimensions",
        )
    key_name, key_values = _first(config, _KEY_VALUE_HEADS)
    if not key_name and heads:
        _check_default_heads(config, known, heads_name, heads, where)
    if heads and key_values and heads % key_values and key_name not in known.head_names:
        raise DataError(
            f"config.json of {where}: '{heads_name}' ({heads}) is not a multiple of '{key_name}' ({key_values})",
            hint="correct one of them",
        )


def _check_default_heads(config: Mapping[str, Any], known: ModelType, heads_name: str, heads: int, where: str) -> None:
    """Heads of keys and values that are left out are those of the config class, which were made for another size."""
    # Falcon's `num_kv_heads` is not read where all heads share keys and values.
    name = "num_key_value_heads"
    default = defaults_of(known.name).get(name)
    if isinstance(default, int) and name not in config and name not in known.head_names and heads % default:
        raise field_error(
            where,
            name,
            None,
            "",
            hint=f"the default of '{known.name}' is {default}, which does not divide '{heads_name}' ({heads})",
        )


def _check_experts(config: Mapping[str, Any], where: str) -> None:
    experts_name, experts = _first(config, _EXPERTS)
    chosen_name, chosen = _first(config, _CHOSEN_EXPERTS)
    if experts and chosen and chosen > experts:
        raise DataError(
            f"config.json of {where}: '{chosen_name}' ({chosen}) is more than '{experts_name}' ({experts})",
            hint="correct one of them",
        )


def _check_layer_types(config: Mapping[str, Any], known: ModelType, where: str) -> None:
    value = config.get("layer_types")
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        raise field_error(where, "layer_types", value, "a list with one text for each layer")
    name, layers = _first(config, known.layer_names)
    if layers and len(value) != layers:
        raise DataError(
            f"config.json of {where}: 'layer_types' has {len(value)} entries, '{name}' is {layers}",
            hint="give one entry for each layer, or remove 'layer_types'",
        )


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, int]:
    """Name and value of the first field that is there; an empty name and 0 when none is."""
    return next(((name, config[name]) for name in names if isinstance(config.get(name), int)), ("", 0))
