"""Dimensions in a config by the field that holds them: whole numbers above 0, or a refusal that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.tracing.refusal import RefusedModel

Config = Mapping[str, Any]


def whole(config: Config, field: str) -> int:
    """A dimension; where one is given by axis, that of all axes.

    Args:
        config: complete, with the defaults of its model type.
        field: its name, with those of the parts it stands in (`vision_config.patch_size`).

    Raises:
        RefusedModel: it is missing, no whole number above 0, or not the same along all axes.
    """
    value = value_of(config, field)
    axes = value if isinstance(value, list | tuple) else [value]
    if not axes or any(not _is_whole(axis) for axis in axes):
        raise wrong(field, value, "it has to be a whole number above 0")
    if len(set(axes)) > 1:
        raise wrong(field, value, "images are planned as squares, with one number for both edges")
    return int(axes[0])


def grid(config: Config, field: str, *, unit: int) -> list[tuple[int, int]]:
    """Heights and widths, each a multiple of the unit.

    Raises:
        RefusedModel: there are none, or one that is no such pair.
    """
    pairs = value_of(config, field)
    if not isinstance(pairs, list | tuple) or not pairs:
        raise wrong(field, pairs, "it has to list pairs of height and width")
    found = []
    for pair in pairs:
        is_pair = isinstance(pair, list | tuple) and len(pair) == 2 and all(_is_whole(edge) for edge in pair)
        if not is_pair or any(edge % unit for edge in pair):
            raise wrong(field, pair, f"each has to be a pair of multiples of vision_config.image_size, {unit}")
        found.append((int(pair[0]), int(pair[1])))
    return found


def share(config: Config, field: str) -> float:
    """A number above 0 and at most 1.

    Raises:
        RefusedModel: it is none.
    """
    value = value_of(config, field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise wrong(field, value, "it has to be a number above 0 and at most 1")
    return float(value)


def value_of(config: Config, field: str) -> Any:
    """What stands there; None where nothing does."""
    found: Any = config
    for name in field.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def wrong(field: str, value: object, why: str) -> RefusedModel:
    """The refusal of a value."""
    return RefusedModel(f"{field} is {value!r}: {why}.", field=field, hint=f"Correct {field} in config.json.")


def _is_whole(value: object) -> bool:
    # A bool is an int to Python and no dimension to us.
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
