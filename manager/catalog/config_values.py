"""Whether the constants in a config.json are of the kind that transformers takes: rates, thresholds, token ids, rope.

No size depends on them, so that two files that differ in nothing else share one trace (`profiling.effective_config`):
what is wrong with them has to be said before a trace is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.catalog.config_fields import field_error

_ROPE_TYPES = frozenset(
    {
        "default",
        "axial",
        "linear",
        "dynamic",
        "yarn",
        "longrope",
        "su",
        "llama3",
        "mrope",
        "proportional",
        "deepseek_yarn",
    }
)
_ROPE_NEEDS = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "su": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
"""Keys that transformers raises without (`modeling_rope_utils`)."""
_ROPE_NUMBERS = ("factor", "low_freq_factor", "high_freq_factor", "rope_theta")
_DROPOUTS = ("dropout", "dropout_prob", "_pdrop", "drop_rate", "drop_path_rate", "layerdrop")
_THRESHOLDS = ("_eps", "_epsilon")


def check_values(config: Mapping[str, Any], where: str) -> None:
    """Refuse constants that are no such number.

    Args:
        config: a config.json or one of its parts.
        where: which model it belongs to, for errors.

    Raises:
        DataError: the message names the field.
    """
    for name, value in config.items():
        if value is None:
            continue
        if name.endswith(_DROPOUTS):
            # Models in stages have one for each.
            shares = value if isinstance(value, list) else [value]
            if not all(isinstance(share, bool) or _is_number(share, 0.0, 1.0) for share in shares):
                raise field_error(where, name, value, "a share from 0 to 1")
        elif name.endswith(_THRESHOLDS) or name == "initializer_range":
            if not _is_number(value, 0.0, 1e6):
                raise field_error(where, name, value, "a number of 0 or more")
        elif name == "rope_theta":
            if not _is_number(value, 1e-6, 1e15):
                raise field_error(where, name, value, "a number above 0")
        elif name.endswith("_token_id"):
            _check_token_id(config, name, where)
    _check_rope(config, where)


def _is_number(value: object, least: float, most: float) -> bool:
    # As it is: a whole number may be too large for a float, and NaN is within no limits.
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _check_token_id(config: Mapping[str, Any], name: str, where: str) -> None:
    value = config[name]
    # Several tokens may end a text.
    ids = value if isinstance(value, list) and name != "pad_token_id" else [value]
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in ids):
        raise field_error(where, name, value, "a whole number")


def _check_rope(config: Mapping[str, Any], where: str) -> None:
    for name in ("rope_scaling", "rope_parameters"):
        value = config.get(name)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise field_error(where, name, value, "null or an object with rope_type and factor")
        # Models with two kinds of layers keep one object for each kind.
        for part in [part for part in value.values() if isinstance(part, dict)] or [value]:
            _check_rope_part(part, name, where)


def _check_rope_part(part: Mapping[str, Any], name: str, where: str) -> None:
    kind = part.get("rope_type", part.get("type", "default"))
    if not isinstance(kind, str) or kind not in _ROPE_TYPES:
        raise field_error(where, f"{name}.rope_type", kind, f"one of {', '.join(sorted(_ROPE_TYPES))}")
    for key in _ROPE_NEEDS.get(kind, ()):
        if part.get(key) is None:
            raise field_error(where, f"{name}.{key}", None, "", hint=f"rope of type '{kind}' needs it")
    for key, value in part.items():
        if key in ("short_factor", "long_factor"):
            if not isinstance(value, list) or not all(_is_number(each, 0.0, 1e6) for each in value):
                raise field_error(where, f"{name}.{key}", value, "a list of numbers above 0")
        elif key in _ROPE_NUMBERS and value is not None and not _is_number(value, 1e-6, 1e15):
            raise field_error(where, f"{name}.{key}", value, "a number above 0")
