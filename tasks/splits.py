"""Which samples train, which choose the checkpoint, which judge: seeded and stratified by label (NumPy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def hold_out(
    labels: NDArray[np.int64], shares: tuple[float, ...], *, seed: int, groups: NDArray[np.int64] | None = None
) -> list[Indices]:
    """Split sample indices into one part per share and, last, the rest; each label in proportion.

    Sizes are `round(share * samples)`, or less where groups do not fit, spread over the labels by largest remainder;
    no label loses its last sample to a held-out part, so the rest (the training set) knows every label. Indices within
    a part are in ascending order.

    Args:
        labels: label index of each sample.
        shares: part of all samples that each held-out part gets.
        seed: of the drawing.
        groups: group index of each sample; the samples of a group stay in one part. None: each is a group of its own.
    """
    if groups is None:
        groups = np.arange(len(labels))
    _, firsts, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    # A group is named by its first sample and counts for that sample's label.
    size_of = np.zeros(len(labels), dtype=np.int64)
    size_of[firsts] = sizes
    generator = np.random.default_rng(seed)
    is_free = (size_of > 0) & ~np.isin(np.arange(len(labels)), _only_in_others(labels, firsts, group_of))
    pools = [generator.permutation(np.flatnonzero(is_free & (labels == label))) for label in _present(labels)]
    left = np.array([int(size_of[pool].sum()) for pool in pools])
    all_of_label = left.copy()
    part_of = np.full(len(labels), len(shares))
    for part, share in enumerate(shares):
        counts = _apportion(all_of_label * share, round(share * len(labels)), np.maximum(left - 1, 0))
        for at, count in enumerate(counts):
            is_taken = _fitting(size_of[pools[at]], count)
            part_of[pools[at][is_taken]] = part
            left[at] -= int(size_of[pools[at][is_taken]].sum())
            pools[at] = pools[at][~is_taken]
    part_of_sample = part_of[firsts][group_of]
    return [np.flatnonzero(part_of_sample == part) for part in range(len(shares) + 1)]


def _only_in_others(labels: NDArray[np.int64], firsts: Indices, group_of: Indices) -> Indices:
    """Groups that must not be held out: one for each label that no group counts for, lest training loses it."""
    homeless = sorted(set(_present(labels)) - set(_present(labels[firsts])))
    return np.array([firsts[group_of[np.flatnonzero(labels == label)[0]]] for label in homeless], dtype=np.int64)


def _present(labels: NDArray[np.int64]) -> list[int]:
    """The labels that occur, in order; `np.unique` would load all of NumPy's masked arrays."""
    return [int(label) for label in np.flatnonzero(np.bincount(labels))]


def _fitting(sizes: Indices, most: int) -> NDArray[np.bool_]:
    """Which groups, taken in order, fit into `most` samples; one that is too large is passed over."""
    is_taken = np.zeros(len(sizes), dtype=np.bool_)
    for at, size in enumerate(sizes):
        if most == 0:
            break
        if size <= most:
            is_taken[at] = True
            most -= int(size)
    return is_taken


def _apportion(quotas: NDArray[np.float64], total: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers near the quotas that add up to total where `most` allows it (largest remainder method)."""
    counts = np.minimum(np.floor(quotas).astype(np.int64), most)
    for at in np.argsort(-(quotas - np.floor(quotas)), kind="stable"):
        if counts.sum() >= total:
            break
        if counts[at] < most[at]:
            counts[at] += 1
    return counts
