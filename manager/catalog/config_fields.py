"""Errors and whole numbers of a config.json, always by the name of the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manager.errors import DataError

_MENDING = "correct the field, or download the config.json again"
_SAVED = "use a config.json as `save_pretrained` of transformers writes it"
_SHOWN_CHARACTERS = 60


def field_error(where: str, name: str, value: object, wanted: str, *, hint: str | None = None) -> DataError:
    """The error of a field that is missing (value None) or not as wanted."""
    if value is None:
        return DataError(f"config.json of {where} has no field '{name}'", hint=hint or _SAVED)
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}..."
    return DataError(f"config.json of {where}: field '{name}' is {shown}, wanted {wanted}", hint=hint or _MENDING)


def whole_number(config: Mapping[str, Any], name: str, where: str, *, at_least: int, at_most: int) -> int | None:
    """The whole number in a field; None when it is missing or null.

    Raises:
        DataError: it is something else, or outside the bounds.
    """
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise field_error(where, name, value, "a whole number")
    if value < at_least or value > at_most:
        raise field_error(where, name, value, f"a whole number from {at_least:,} to {at_most:,}")
    return value
