"""What of a model's config.json a training step depends on.

Fields that say who made it, how it is stored, what its labels are called or which constants its layers use change no
step; fields at their default, or at the value that the config class derives when they are missing, say nothing. Two
files of one architecture (a base model, its tuned descendant, the same saved by another version) are equal in the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manager.catalog.config_defaults import defaults_of

_WITHOUT_EFFECT = frozenset(
    (
        "_name_or_path",
        "architectures",
        "attn_implementation",
        "dtype",
        "eos_token_id",
        "bos_token_id",
        "finetuning_task",
        "id2label",
        "initializer_range",
        "label2id",
        "problem_type",
        "task_specific_params",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    )
)
_WITHOUT_EFFECT_ENDINGS = (
    "_eps",
    "_epsilon",
    "_token_id",
    "_token_ids",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
)


def effective_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with a bearing on the step, without those at their default; of nested configs likewise."""
    model_type = str(config.get("model_type", ""))
    return {"model_type": model_type, **_without(config, defaults_of(model_type))}


def without_longest(config: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The effective config without how many positions it allows, and that number; None where it stays within.

    Rotary positions are computed for the length at hand, there is no table of them: the longest sample that a config
    allows changes no step, only for which lengths a trace must hold. It stays within where positions are a table.
    """
    effective = effective_config(config)
    default = defaults_of(effective["model_type"])
    if default.get("rope_parameters"):
        effective.pop("max_position_embeddings", None)
        return effective, config.get("max_position_embeddings", default.get("max_position_embeddings"))
    return effective, None


def _without(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        default = defaults.get(name)
        if name == "pad_token_id" and _is_beyond(value, config, defaults):
            found[name] = value
        if name in _WITHOUT_EFFECT or name.endswith(_WITHOUT_EFFECT_ENDINGS):
            continue
        if name in defaults and (value == default or _is_unused(name, config, defaults)):
            continue
        if _is_derived(name, value, config, defaults):
            continue
        if isinstance(value, Mapping):
            own = defaults_of(str(value.get("model_type", "")))
            inner = _without(value, default if isinstance(default, Mapping) else own)
            if not inner:
                continue
            found[name] = inner
        elif value is not None or name in defaults:
            found[name] = value
    return found


def _is_beyond(token: object, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether a token stands outside the vocabulary, which embeddings refuse as their padding."""
    vocabulary = config.get("vocab_size", defaults.get("vocab_size"))
    return isinstance(token, int) and isinstance(vocabulary, int) and token >= vocabulary


def _is_unused(name: str, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether no layer reads the field, given the others."""
    if name in ("sliding_window", "max_window_layers") and "use_sliding_window" in defaults:
        return not config.get("use_sliding_window", defaults["use_sliding_window"])
    return False


def _is_derived(name: str, value: object, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the field says what the config class derives where it is missing; such defaults are null in the table."""

    def of(other: str) -> int:
        found = config.get(other, defaults.get(other))
        return found if isinstance(found, int) else 0

    heads = of("num_attention_heads")
    if name == "num_key_value_heads" and defaults.get(name, 0) is None:
        return value == heads
    if name == "head_dim" and defaults.get(name, 0) is None and heads:
        return value == of("hidden_size") // heads
    pattern = defaults.get(name)
    if name == "layer_types" and isinstance(pattern, Sequence) and isinstance(value, Sequence):
        return len(value) == of("num_hidden_layers") and list(value) == _continued(list(pattern), len(value))
    return False


def _continued(pattern: list[Any], length: int) -> list[Any]:
    """The pattern's shortest period, repeated."""
    period = next(
        p for p in range(1, len(pattern) + 1) if all(a == b for a, b in zip(pattern, pattern[p:], strict=False))
    )
    return [pattern[index % period] for index in range(length)]
