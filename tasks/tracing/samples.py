"""At which batches, lengths and ranks a step is recorded, and the exact solution for the polynomial through them.

Points are multiples at which the allocator's rounding to 512 bytes is harmless: batch times length is a multiple of
512, so that even a mask of one byte a token fills its blocks. Two batches times three lengths carry the monomials
1, B, S, BS, SS, BSS; images have no length. A second rank at two points carries R and BSR.

A chunked loss is cut into the same number of slices at each of these points, two, so that the same ops run at all;
three slices at two more points carry K and C, a single slice at two more M and KM.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.step_trace import TraceRequest, monomials
from tasks.tracing.images_in_text import image_part
from tasks.tracing.refusal import RefusedModel

Floats = NDArray[np.float64]

MASK_ALIGNMENT = 16
"""Elements of the last dimension, see `meta_kernels.MASK_ALIGNMENT`, whose module loads torch."""

_BLOCK_BYTES = 512
_RANKS = (16, 32)
_SLICES = 2
"""The first and one after it."""
_UNITS = (128, 64, 32, 16, 4)
"""Steps of length in tokens, the largest that fits the positions three times: all three lengths are multiples of
the alignment of masks, or none is, so that all pad them or none does."""
_AUDIO_UNIT = 24_000
"""Samples of the waveform: 75 strides of the feature encoders (320 for Wav2Vec2, HuBERT, WavLM), whole thousands."""
_AUDIO_UNIT_MASKED = 128_000
"""400 strides: frames are one less than a multiple of 16, so that masks are padded at all lengths, and odd, for
encoders that squeeze pairs of them."""
_AUDIO_TASKS = ("audio-classification", "speech-ctc")
_LEAST_BATCH = 4
_POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len", "n_ctx")
_ATTENTION = ("attention", "full_attention", "sliding_attention")
_CHUNK_KEYS = ("mamba_chunk_size", "chunk_size")
_LONGEST = 131_072
_LONGEST_AUDIO = 16_000 * 60
_NOISE = 1e-11


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One recording."""

    batch: int
    length: int
    rank: int | None
    """None: the request's own."""
    slices: int | None = None
    """Into which a chunked loss is cut; None: it is not chunked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Points and the monomials that they determine, as many as points."""

    points: tuple[Point, ...]
    names: tuple[str, ...]
    longest: int
    """Length up to which the model can be asked."""
    image_tokens: int = 0
    """What the image of a sample adds to its length in the sequence."""

    def solve(self, values: Floats) -> Floats:
        """Coefficients (monomials x ...) of the polynomials through values (points x ...)."""
        matrix = np.array([self._row(point) for point in self.points])
        scale = np.abs(matrix).max(axis=0)
        flat = values.reshape(len(self.points), -1)
        coefficients: Floats = np.linalg.solve(matrix / scale, flat)
        # Float noise of the solution is no dependence on batch or length.
        coefficients[np.abs(coefficients) <= _NOISE * np.abs(flat).max(axis=0) + 1e-6] = 0.0
        unscaled: Floats = (coefficients / scale[:, None]).reshape(-1, *values.shape[1:])
        return unscaled

    def row(self, *, batch: int, length: int) -> Floats:
        """Values of the monomials at a batch and length, at the rank of the first point."""
        return np.array(self._row(Point(batch=batch, length=length, rank=self.points[0].rank)))

    def _row(self, point: Point) -> list[float]:
        values = monomials(point.batch, point.length, point.rank or 0, slices=point.slices)
        return [values[name] for name in self.names]


def samples_for(request: TraceRequest, config: Mapping[str, Any], *, with_rank: bool) -> Samples:
    """Points for a request.

    Args:
        request: what is traced.
        config: complete, with the defaults of its model type.
        with_rank: the polynomials are to carry the rank of LoRA too.
    """
    ranks: tuple[int | None, ...] = _RANKS if with_rank else (None,)
    beside = 0
    if request.task == "image-classification":
        grid = [(batch, 1) for batch in (8, 16)]
        names: tuple[str, ...] = ("1", "B")
        longest = 1
    else:
        longest = _longest(request, config)
        unit = _unit(request, config, longest)
        # An image stands in the sequence beside the text, whose tokens are the length.
        beside = image_part(request, config).tokens if request.task == "image-text-to-text" else 0
        longest -= beside
        first = unit - beside % unit
        shortest = unit * (request.target_share if request.task == "seq2seq-lm" else 1.0)
        batch = max(_LEAST_BATCH, math.ceil(_BLOCK_BYTES / shortest))
        grid = [(times * batch, first + steps * unit) for times in (1, 2) for steps in (0, 1, 2)]
        names = ("1", "B", "S", "BS", "SS", "BSS")
    slices = _SLICES if request.loss == "chunked" else None
    points = [Point(batch=batch, length=length, rank=ranks[0], slices=slices) for batch, length in grid]
    if slices is not None:
        # The third of the lengths is three steps, so that three slices of it are whole, and one step in one as large.
        others = ((grid[0], 1), (grid[2], 1), (grid[2], 3), (grid[-1], 3))
        points += [Point(batch=batch, length=length, rank=ranks[0], slices=count) for (batch, length), count in others]
        names = (*names, "K", "C", "M", "KM")
    if with_rank:
        points += [
            Point(batch=batch, length=length, rank=ranks[1], slices=slices) for batch, length in (grid[0], grid[-1])
        ]
        names = (*names, "R", "BSR")
    return Samples(points=tuple(points), names=names, longest=longest, image_tokens=beside)


def _longest(request: TraceRequest, config: Mapping[str, Any]) -> int:
    if request.task in _AUDIO_TASKS:
        return _LONGEST_AUDIO
    found = [
        value
        for part in _parts(config)
        for key in _POSITION_KEYS
        if isinstance(value := part.get(key), int) and value > 0
    ]
    return min([*found, _LONGEST])


def _unit(request: TraceRequest, config: Mapping[str, Any], longest: int) -> int:
    if request.task in _AUDIO_TASKS:
        return _AUDIO_UNIT_MASKED if _is_sound_masked(config) else _AUDIO_UNIT
    if (chunk := _chunk_tokens(config)) and 3 * math.lcm(_UNITS[0], chunk) <= longest:
        return math.lcm(_UNITS[0], chunk)
    share = request.target_share if request.task == "seq2seq-lm" else 1.0
    fitting = next((unit for unit in _UNITS if 3 * unit <= longest and _pads_alike(unit * share)), None)
    if fitting is None:
        raise RefusedModel(
            f"The model takes {longest} tokens at most, and its step is recorded at up to {3 * _UNITS[-1]}.",
            field=next(key for part in _parts(config) for key in _POSITION_KEYS if part.get(key) == longest),
            hint="Compare the field with the config.json of a published model of this architecture.",
        )
    return fitting


def _is_sound_masked(config: Mapping[str, Any]) -> bool:
    """Whether layers of a model of waveforms add a mask or positions to their scores, or squeeze frames."""
    adds = config.get("feat_extract_norm") != "group" or bool(config.get("position_embeddings_type"))
    return ("conv_stride" in config and adds) or "squeeze_factor" in config


def _pads_alike(step: float) -> bool:
    """Whether lengths of one, two and three steps are all multiples of the alignment of masks, or none is."""
    return len({round(times * step) % MASK_ALIGNMENT == 0 for times in (1, 2, 3)}) == 1


def _chunk_tokens(config: Mapping[str, Any]) -> int | None:
    """Tokens to which state-space layers pad a sample (Dao and Gu 2024, arXiv:2405.21060); None without such layers."""
    kinds = config.get("layer_types") or config.get("layers_block_type") or ("mamba",)
    if all(kind in _ATTENTION for kind in kinds):
        return None
    return next((value for key in _CHUNK_KEYS if isinstance(value := config.get(key), int) and value > 0), None)


def _parts(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    text = config.get("text_config")
    return (config, text) if isinstance(text, Mapping) else (config,)
