"""Which layer counts are enough to know a deep model: two small ones where layers repeat, else all of them.

Reads a config only. A pattern over layers (attention types, experts in each n-th layer) makes the period longer, a few
layers that stand before the pattern are kept as they are; anything else that singles out layers, or several towers,
means that the model is traced in full. The fit checks by the recorded ops that what is extrapolated really repeats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_PERIOD_KEYS = (
    "sliding_window_pattern",
    "global_attn_every_n_layers",
    "full_attention_interval",
    "decoder_sparse_step",
    "interleave_moe_layer_step",
    "moe_layer_frequency",
    "moe_every_n_layers",
    "attn_layer_period",
    "expert_layer_period",
)
"""Each n-th layer is of another kind."""
_FIRST_KEYS = ("first_k_dense_replace",)
"""That many layers at the start stand outside the pattern."""
_IRREGULAR_KEYS = (
    "is_encoder_decoder",
    "mlp_only_layers",
    "num_kv_shared_layers",
    "depths",
    "depth_coefficient",
    "block_repeats",
    "decoder_layers",
    "num_decoder_layers",
    "text_config",
    "vision_config",
    "audio_config",
)
"""Single out layers by number, or stand for more than one stack of layers."""
_LEAST_PERIODS = 2
_LEAST_LAYERS = 3
"""Of the smaller trace: the first and the last layer may have tensors beside them that no other has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDepths:
    """Two layer counts from which any other follows."""

    fewer: int
    more: int
    """One period more."""
    period: int
    layers: int
    """Of the model itself; as many whole periods above `fewer`."""

    @property
    def steps(self) -> int:
        """Periods between the smaller trace and the model."""
        return (self.layers - self.fewer) // self.period

    @property
    def probe(self) -> int:
        """A third count, at which what the two give is checked."""
        return self.more + self.period

    def to_probe(self) -> SmallDepths:
        """The same two depths, for a model as deep as the probe."""
        return replace(self, layers=self.probe)


def small_depths(config: Mapping[str, Any], layers: int | None = None) -> SmallDepths | None:
    """Two small layer counts; None where layers do not repeat or a full trace costs no more.

    Args:
        config: complete, with the defaults of its model type.
        layers: instead of the config's number.
    """
    named = next((config[key] for key in _LAYER_KEYS if isinstance(config.get(key), int)), None)
    total = named if layers is None else layers
    if named is None or not total or any(config.get(key) for key in _IRREGULAR_KEYS):
        return None
    first, period = _pattern_of(config, named)
    periods = max(_LEAST_PERIODS, math.ceil(_LEAST_LAYERS / period))
    fewer = first + periods * period + (total - first) % period
    more = fewer + period
    if fewer + more >= total:
        return None
    return SmallDepths(fewer=fewer, more=more, period=period, layers=total)


def _pattern_of(config: Mapping[str, Any], layers: int) -> tuple[int, int]:
    """Layers before the pattern, and its period."""
    lists = [value for value in config.values() if isinstance(value, (list, tuple)) and len(value) == layers]
    patterns = [_shortest_pattern(value) for value in lists]
    firsts = [int(config.get(key) or 0) for key in _FIRST_KEYS]
    periods = [int(config[key]) for key in _PERIOD_KEYS if isinstance(config.get(key), int) and config[key] > 0]
    return max(0, *firsts, *(first for first, _ in patterns)), math.lcm(*periods, *(period for _, period in patterns))


def _shortest_pattern(values: Sequence[object]) -> tuple[int, int]:
    """The start and the period with the smallest sum that give the list."""
    size = len(values)
    return min(
        (
            (first, period)
            for first in range(size)
            for period in range(1, size - first + 1)
            if all(values[at] == values[at + period] for at in range(first, size - period))
        ),
        key=sum,
    )
