"""Figures of a measured training set: lengths, padding, packing, sizes of images, durations. Pure, NumPy only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.batching import Indices, epoch_batches, padded_tokens
from tasks.media_headers import Recording
from tasks.packing import pack
from tasks.sample_units import WAVEFORM_RATE_HZ, padding_spans

Figures = dict[str, Any]


def length_figures(tokens: NDArray[np.int64], *, truncated: int, batch_size: int, seed: int) -> Figures:
    """Mean, longest and padded length with the batches that training makes, whole and in micro-batches."""
    batches = epoch_batches(tokens, batch_size, seed=seed, epoch=0)
    padded_means = [
        {"samples": span, "tokens": padded_tokens(tokens, _parts(batches, span)) / len(tokens)}
        for span in padding_spans(batch_size)
    ]
    return {
        "mean_tokens": float(tokens.mean()),
        "longest_tokens": int(tokens.max()),
        "padded_mean_tokens": padded_tokens(tokens, batches) / len(tokens),
        "padded_means": padded_means,
        "truncated_share": truncated / len(tokens),
    }


def _parts(batches: list[Indices], span: int) -> list[Indices]:
    """Batches cut into parts of neighbours, as micro-batches cut them."""
    return [batch[at : at + span] for batch in batches for at in range(0, len(batch), span)]


def target_figures(tokens: NDArray[np.int64], held: Sequence[NDArray[np.int64]] = ()) -> Figures:
    """Mean of the training set's targets, and the longest of these and those of the held-out sets."""
    longest = max(int(part.max()) for part in (tokens, *held) if len(part))
    return {"mean_target_tokens": float(tokens.mean()), "longest_target_tokens": longest}


def packing_figures(tokens: NDArray[np.int64], max_length: int, *, samples: int) -> Figures:
    """How many sequences packing makes, and how full they are.

    Args:
        tokens: lengths of the measured samples.
        max_length: longest sequence, in tokens.
        samples: of the whole training set, of which those measured may be a part.
    """
    sequences = len(pack(tokens.tolist(), max_length))
    return {
        "packed_sequences": math.ceil(sequences * samples / len(tokens)),
        "packed_fill": float(tokens.sum()) / (sequences * max_length),
    }


def image_figures(sizes: list[tuple[int, int]]) -> Figures:
    """Sizes as stored; one image is one step of length 1."""
    widths, heights = np.array(sizes).T
    return {
        **{"mean_tokens": 1.0, "longest_tokens": 1, "padded_mean_tokens": 1.0, "truncated_share": 0.0},
        "mean_width": float(widths.mean()),
        "mean_height": float(heights.mean()),
        "largest_width": int(widths.max()),
        "largest_height": int(heights.max()),
    }


def audio_figures(recordings: list[Recording]) -> Figures:
    """Durations, and the rate of most recordings."""
    seconds = np.array([recording.seconds for recording in recordings])
    rates = Counter(recording.sampling_rate_hz for recording in recordings)
    return {
        "mean_seconds": float(seconds.mean()),
        "longest_seconds": float(seconds.max()),
        "sampling_rate_hz": rates.most_common(1)[0][0],
    }


def waveform_lengths(recordings: list[Recording]) -> NDArray[np.int64]:
    """Samples of each waveform as the model reads it."""
    return np.array([max(1, round(found.seconds * WAVEFORM_RATE_HZ)) for found in recordings], dtype=np.int64)
