"""How many layers a config asks for, and how to ask for another number.

Fields differ by architecture; transformers' own aliases (`attribute_map`) are followed, and lists with one value per
layer are cut along. Whether layers repeat is for `layout` to say.
"""

from __future__ import annotations

import itertools
from typing import Any

from tasks.tracing.refusal import RefusedModel

COUNTS = (
    "num_hidden_layers",
    "encoder_layers",
    "decoder_layers",
    "num_layers",
    "num_encoder_layers",
    "num_decoder_layers",
)
PARTS = ("text_config", "vision_config", "audio_config", "encoder", "decoder")
STAGED = ("depths", "depth_coefficient", "block_repeats", "stage_depths")
"""Stages of different widths: no number of layers says them."""
LEADING = ("max_window_layers", "first_k_dense_replace", "num_kv_shared_layers")
"""So many of the layers are of another kind."""


def layer_count(config: Any) -> int | None:
    """Layers of a config of transformers, of its first part that says; None for stages."""
    if any(getattr(config, name, None) is not None for name in STAGED):
        return None
    return next((int(getattr(part, name)) for part in _parts(config) for name in _count_fields(part)), None)


def set_layers(config: Any, layers: int) -> None:
    """Change a config to this number of layers, in each of its parts.

    Raises:
        RefusedModel: it has no such number.
    """
    if layer_count(config) is None:
        raise RefusedModel(
            f"{type(config).__name__} has no number of layers to change.",
            field="layers",
            hint="Its stages are set one by one: give a config with other stages instead.",
        )
    for part in _parts(config):
        for name in _count_fields(part):
            cut = _lists_by_layer(part, int(getattr(part, name)), layers)
            try:
                setattr(part, name, layers)
            except NotImplementedError:
                # An alias for several fields at once (ProphetNet), which stand in COUNTS themselves.
                continue
            for listed, values in cut.items():
                setattr(part, listed, values)
        for name in LEADING:
            if isinstance(getattr(part, name, None), int):
                setattr(part, name, min(getattr(part, name), layers))


def _parts(config: Any) -> list[Any]:
    """The config, or its parts where they hold the layers."""
    nested = [part for name in PARTS if hasattr(part := getattr(config, name, None), "to_dict")]
    return nested or [config]


def _count_fields(part: Any) -> list[str]:
    """Names that hold a number of layers and can be set."""
    aliases = getattr(part, "attribute_map", {})
    targets = dict.fromkeys(aliases.get(name, name) for name in COUNTS if isinstance(getattr(part, name, None), int))
    return [name for name in targets if isinstance(getattr(part, name, None), int)]


def _lists_by_layer(part: Any, count: int, layers: int) -> dict[str, list[Any]]:
    """Fields with one value per layer, and those with the numbers of some layers, cut to fewer layers."""
    found = {name: list(values) for name, values in vars(part).items() if isinstance(values, list) and "layer" in name}
    cut: dict[str, list[Any]] = {}
    for name, values in found.items():
        if _are_indices(values, count):
            cut[name] = [value for value in values if value < layers]
        elif len(values) == count:
            cut[name] = values[:layers]
    return cut


def _are_indices(values: list[Any], count: int) -> bool:
    is_rising = all(isinstance(value, int) and not isinstance(value, bool) for value in values) and all(
        before < after for before, after in itertools.pairwise(values)
    )
    return is_rising and len(values) > 0 and values[-1] < count
