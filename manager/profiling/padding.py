"""Padding of a set whose lengths were counted without the training libraries: `tasks.batching` in pure Python.

Batches differ from the trainer's in their shuffle alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from manager.workload.profile import PaddedMean
from tasks.sample_units import BATCHES_PER_GROUP, MOST_SAMPLES, padding_spans


def padded_means(lengths: Sequence[int], *, batch_size: int, seed: int) -> tuple[PaddedMean, ...]:
    """Mean length with so many neighbours of a length-grouped batch padded to the longest of them.

    Args:
        lengths: of the training samples, at least one.
        batch_size: samples per optimizer step.
        seed: of the shuffle, and of the sample taken of a large set.
    """
    order = list(lengths)
    random.Random(seed).shuffle(order)
    del order[MOST_SAMPLES:]
    group = batch_size * BATCHES_PER_GROUP
    grouped = [sorted(order[start : start + group], reverse=True) for start in range(0, len(order), group)]
    batches = [members[at : at + batch_size] for members in grouped for at in range(0, len(members), batch_size)]
    return tuple(
        PaddedMean(samples=span, tokens=sum(_padded(batch, span) for batch in batches) / len(order))
        for span in padding_spans(batch_size)
    )


def _padded(batch: Sequence[int], span: int) -> int:
    """Tokens of a batch, longest sample first, that is cut into parts."""
    return sum(batch[at] * min(span, len(batch) - at) for at in range(0, len(batch), span))
