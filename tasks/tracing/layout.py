"""Which layer counts are enough to know a deep model: two small ones where layers repeat, else all of them.

Reads a config only. A pattern over layers (attention types, experts in each n-th layer) makes the period longer; what
singles out layers by number, or several towers, means that the model is traced in full. The fit checks by the recorded
ops that what is extrapolated really repeats; this module only proposes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    "cross_attention_frequency",
)
"""Each n-th layer is of another kind."""
_IRREGULAR_KEYS = (
    "first_k_dense_replace",
    "mlp_only_layers",
    "num_kv_shared_layers",
    "depths",
    "stage_names",
    "decoder_layers",
    "num_decoder_layers",
    "text_config",
    "vision_config",
    "audio_config",
    "encoder",
    "decoder",
    "auxiliary_head",
)
"""Single out layers by number, or stand for more than one stack of layers."""
_PERIODS_SMALL = 2
"""A whole period is needed at either end of the smaller trace."""


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


def small_depths(config: Mapping[str, Any], layers: int | None = None) -> SmallDepths | None:
    """Two small layer counts; None where layers do not repeat or a full trace costs no more.

    Args:
        config: complete, with the defaults of its model type.
        layers: instead of the config's number.
    """
    named = next((config[key] for key in _LAYER_KEYS if isinstance(config.get(key), int)), None)
    total = named if layers is None else layers
    if named is None or not total or config.get("is_encoder_decoder") or any(config.get(k) for k in _IRREGULAR_KEYS):
        return None
    period = _period(config, named)
    fewer = _PERIODS_SMALL * period + total % period
    more = fewer + period
    if fewer + more >= total:
        return None
    return SmallDepths(fewer=fewer, more=more, period=period, layers=total)


def _period(config: Mapping[str, Any], layers: int) -> int:
    periods = [int(config[key]) for key in _PERIOD_KEYS if isinstance(config.get(key), int) and config[key] > 0]
    lists = [value for value in config.values() if isinstance(value, (list, tuple)) and len(value) == layers]
    return math.lcm(*periods, *map(_shortest_period, lists))


def _shortest_period(values: Sequence[object]) -> int:
    for period in range(1, len(values)):
        if all(value == values[at % period] for at, value in enumerate(values)):
            return period
    return len(values)
