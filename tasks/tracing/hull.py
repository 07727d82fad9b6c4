"""The few moments of a step that are ever the highest: upper hull of many memory polynomials.

A point is kept when it is the largest of its phase somewhere on a dense grid of batch and length; points that others
come within 0.03 % of are dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.step_trace import monomials

Floats = NDArray[np.float64]

_TOLERANCE = 3e-4
_MOST_BATCH = 1024
_SHORTEST = 16
_SMALL = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14)
_RANKS = (4, 8, 16, 64, 256)


def hull(sums: Floats, names: tuple[str, ...], *, longest: int) -> list[int]:
    """Indices of the polynomials to keep, in their order.

    Args:
        sums: polynomials x monomials, bytes.
        names: of the monomials.
        longest: largest length of the grid; 1 where there is none.
    """
    distinct, first = np.unique(sums, axis=0, return_index=True)
    values = distinct @ _grid(names, longest)
    highest = values.max(axis=0)
    winners = np.unique(values.argmax(axis=0))
    # A fit may dip under zero where next to nothing is alive: the tolerance is of the size, whatever the sign.
    covers = values[winners] >= highest - np.abs(highest) * _TOLERANCE
    kept: list[int] = []
    open_ = np.ones(len(highest), dtype=bool)
    while open_.any():
        best = int((covers & open_).sum(axis=1).argmax())
        kept.append(int(first[winners[best]]))
        open_ &= ~covers[best]
    return sorted(kept)


def _grid(names: tuple[str, ...], longest: int) -> Floats:
    """Monomials x points of the grid."""
    batches = _spread(1, _MOST_BATCH, 24)
    lengths = _spread(_SHORTEST, longest, 28) if longest > _SHORTEST else [longest]
    ranks = _RANKS if "R" in names else (0,)
    rows = [monomials(batch, length, rank) for batch in batches for length in lengths for rank in ranks]
    return np.array([[row[name] for row in rows] for name in names])


def _spread(low: int, high: int, count: int) -> list[int]:
    """Whole numbers spread evenly on a logarithmic scale, with the small ones."""
    spread = np.unique(np.geomspace(low, high, count).round().astype(int))
    return sorted({int(value) for value in spread} | {value for value in _SMALL if low <= value <= high})
