"""How many layers a config asks for, in what pattern they repeat, and how to ask for another number.

Fields differ by architecture; transformers' own aliases (`attribute_map`) are followed. Where parts of a model have
different numbers of layers, or stages of their own (ResNet, Swin), no single number says it: None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.tracing.refusal import RefusedModel

COUNTS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers")
PARTS = ("text_config", "vision_config", "audio_config")
PERIODS = ("global_attn_every_n_layers", "interleave_moe_layer_step", "decoder_sparse_step", "sliding_window_pattern")
"""Every n-th layer differs."""
STAGED = ("depths", "depth_coefficient", "block_repeats", "stage_depths")
"""Stages that do not repeat each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """Layers that repeat."""

    count: int
    period: int = 1
    """Layers after which the pattern starts again; 1: all equal."""
    first: int = 0
    """Layers at the start that stand outside the pattern."""


def layer_plan(config: Any) -> LayerPlan | None:
    """The plan of a config of transformers; None where layers do not repeat by one number."""
    if any(getattr(config, name, None) is not None for name in STAGED):
        return None
    counts = {int(getattr(part, name)) for part in _parts(config) for name in _count_fields(part)}
    if len(counts) != 1:
        return None
    count = counts.pop()
    period, first = 1, 0
    for part in _parts(config):
        first = max(first, int(getattr(part, "first_k_dense_replace", 0) or 0))
        for name, values in _lists_by_layer(part, count).items():
            if name != "mlp_only_layers":
                period = _common(period, _period(values))
        for name in PERIODS:
            period = _common(period, int(getattr(part, name, None) or 1))
    return LayerPlan(count=count, period=period, first=first)


def set_layers(config: Any, layers: int) -> None:
    """Change a config to this number of layers, in each of its parts.

    Raises:
        RefusedModel: it has no such number.
    """
    if layer_plan(config) is None:
        raise RefusedModel(
            f"{type(config).__name__} has no single number of layers to change.",
            field="layers",
            hint="Trace it in full: its stages or parts differ.",
        )
    for part in _parts(config):
        for name in _count_fields(part):
            before = int(getattr(part, name))
            cut = _lists_by_layer(part, before)
            setattr(part, name, layers)
            for listed, values in cut.items():
                setattr(part, listed, values[:layers])
        if hasattr(part, "max_window_layers"):
            part.max_window_layers = min(int(part.max_window_layers or 0), layers)


def _parts(config: Any) -> list[Any]:
    """The config, or its parts where they hold the layers."""
    nested = [part for name in PARTS if (part := getattr(config, name, None)) is not None]
    return nested or [config]


def _count_fields(part: Any) -> list[str]:
    """Names that hold a number of layers and can be set."""
    aliases = getattr(part, "attribute_map", {})
    names = [name for name in COUNTS if isinstance(getattr(part, name, None), int)]
    targets = {aliases.get(name, name) for name in names}
    return sorted(target for target in targets if isinstance(getattr(part, target, None), int))


def _lists_by_layer(part: Any, count: int) -> dict[str, list[Any]]:
    """Fields with one value per layer."""
    return {
        name: list(values)
        for name, values in vars(part).items()
        if isinstance(values, list | tuple) and len(values) == count and "layer" in name
    }


def _period(values: list[Any]) -> int:
    """Shortest pattern that, repeated and cut, gives the list."""
    return next(
        size for size in range(1, len(values) + 1) if all(value == values[at % size] for at, value in enumerate(values))
    )


def _common(one: int, other: int) -> int:
    from math import lcm

    return lcm(one, other)
