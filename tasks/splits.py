"""Which samples train, which choose the checkpoint, which judge: seeded and stratified by label (NumPy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def hold_out(labels: NDArray[np.int64], shares: tuple[float, ...], *, seed: int) -> list[Indices]:
    """Split sample indices into one part per share and, last, the rest; each label in proportion.

    Sizes are `round(share * samples)`, spread over the labels by largest remainder; no label loses its last sample to
    a held-out part, so the rest (the training set) knows every label. Indices within a part are in ascending order.
    """
    generator = np.random.default_rng(seed)
    pools = [generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    left = np.array([len(pool) for pool in pools])
    sizes = left.copy()
    parts: list[list[Indices]] = [[] for _ in shares]
    for part, share in zip(parts, shares, strict=True):
        counts = _apportion(sizes * share, round(share * len(labels)), left - 1)
        for at, count in enumerate(counts):
            part.append(pools[at][:count])
            pools[at] = pools[at][count:]
        left = left - counts
    held = [np.sort(np.concatenate(part)) for part in parts]
    return [*held, np.sort(np.concatenate(pools))]


def _apportion(quotas: NDArray[np.float64], total: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers near the quotas that add up to total where `most` allows it (largest remainder method)."""
    counts = np.minimum(np.floor(quotas).astype(np.int64), most)
    for at in np.argsort(-(quotas - np.floor(quotas)), kind="stable"):
        if counts.sum() >= total:
            break
        if counts[at] < most[at]:
            counts[at] += 1
    return counts
