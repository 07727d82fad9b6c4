"""Which samples go into which batch: length-grouped, seeded, the same on each machine and after each resume.

Pure functions over lengths (NumPy only), so that the planner's measurement and the training loop share them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tasks.sample_units import BATCHES_PER_GROUP

Indices = NDArray[np.int64]
Lengths = NDArray[np.int64]


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Optimizer steps that see each sample once; the last one may be smaller."""
    return math.ceil(samples / batch_size)


def total_steps(samples: int, batch_size: int, epochs: float, max_steps: int | None) -> int:
    """Optimizer steps of the whole run: max_steps when given, else what the epochs give, at least 1."""
    if max_steps is not None:
        return max_steps
    return max(1, math.ceil(epochs * steps_per_epoch(samples, batch_size) - 1e-9))


def epoch_batches(lengths: Lengths, batch_size: int, *, seed: int, epoch: int) -> list[Indices]:
    """The batches of one epoch in order: a seeded shuffle, sorted by length within groups of batches, shuffled again.

    Each sample comes once; each batch has batch_size samples, longest first, but one that takes the rest. A pure
    function of its arguments: a position in the epoch is all that a checkpoint needs.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    group = batch_size * BATCHES_PER_GROUP
    batches: list[Indices] = []
    for start in range(0, len(order), group):
        members = order[start : start + group]
        members = members[np.argsort(-lengths[members], kind="stable")]
        batches.extend(members[at : at + batch_size] for at in range(0, len(members), batch_size))
    return [batches[at] for at in generator.permutation(len(batches))]


def evaluation_batches(lengths: Lengths, batch_size: int) -> list[Indices]:
    """All samples, longest first, so that a shortage of memory shows at once and padding is least."""
    order = np.argsort(-lengths, kind="stable")
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def micro_batches(batch: Indices, micro_batch: int, *, rank: int, world_size: int) -> list[tuple[Indices, int]]:
    """A device's part of a batch as (indices, how many of them count).

    All devices get the same number of micro-batches, because they meet at each backward pass; a device that has no
    sample left gets the batch's last one with a count of 0.
    """
    per_device = math.ceil(len(batch) / world_size)
    own = batch[rank::world_size]
    parts: list[tuple[Indices, int]] = []
    for at in range(0, per_device, micro_batch):
        part = own[at : at + micro_batch]
        parts.append((part, len(part)) if len(part) else (batch[-1:], 0))
    return parts


def padded_tokens(lengths: Lengths, batches: list[Indices]) -> int:
    """Tokens that the model computes with, padding included, when each batch is padded to its longest sample."""
    return int(sum(lengths[batch].max() * len(batch) for batch in batches))
