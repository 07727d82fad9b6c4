"""For each op of a large model one of a small model that is the same at two points, wherever it stands.

Ops are the same that agree in phase, name, type, work and what they allocate, at both points. Where two such ops of the
small model differ at any other point, nothing is said.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.tracing.recording import Recording

Ints = NDArray[np.int64]

LIVED = 0
"""Kind of the allocations within a step, see `Recording.lives`; the others stand whatever the batch."""


def counterparts(small: Sequence[Recording], first: Recording, last: Recording) -> Ints | None:
    """Places in the small model, -1 where no op is the same; None where nothing is said.

    Args:
        small: recordings of the small model, at the points of the two others and between.
        first: of the large model.
        last: of the large model.
    """
    own, others = _signatures((first, last)), _signatures((small[0], small[-1]))
    # What is the same at both ends has to be the same in between.
    courses = _signatures(small)
    if own is None or others is None or courses is None:
        return None
    found: dict[Hashable, int] = {}
    for place, signature in enumerate(others):
        if courses[found.setdefault(signature, place)] != courses[place]:
            return None
    return np.array([found.get(signature, -1) for signature in own], dtype=np.int64)


def _signatures(recordings: Sequence[Recording]) -> list[Hashable] | None:
    """Of each op what it is, what it does and what it allocates in some recordings; None where those differ."""
    first = recordings[0]
    storages = _born([recording.storages for recording in recordings], len(first.names))
    lives = _born([recording.lives[recording.lives[:, 3] == LIVED] for recording in recordings], len(first.names))
    if storages is None or lives is None:
        return None
    flops = np.array([recording.flops for recording in recordings]).T.tolist()
    moved = np.array([recording.moved_bytes for recording in recordings]).T.tolist()
    rows = zip(first.phases, first.names, first.kinds, first.dtypes, flops, moved, storages, lives, strict=True)
    return [
        (phase, name, kind, dtype, tuple(work), tuple(traffic), tuple(stored), tuple(lived))
        for phase, name, kind, dtype, work, traffic, stored, lived in rows
    ]


def _born(tables: Sequence[Ints], ops: int) -> list[list[Any]] | None:
    """By op, kind and sizes of what it allocates."""
    if any(not np.array_equal(table[:, 1:], tables[0][:, 1:]) for table in tables[1:]):
        return None
    found: list[list[Any]] = [[] for _ in range(ops)]
    sizes = np.array([table[:, 0] for table in tables]).T.tolist()
    for birth, kind, row in zip(tables[0][:, 1].tolist(), tables[0][:, 3].tolist(), sizes, strict=True):
        found[birth].append((kind, tuple(row)))
    return found
