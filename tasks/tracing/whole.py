"""The whole model at all points, where layers do not repeat in one stack: most of it from a model of few layers.

Encoders with decoders, towers of two kinds: no two depths give a third, but the ops of a model with two layers in each
stack are those of all its layers. The whole model is recorded at the first and the last point; between them each of its
ops does what an op of the small model does there that is the same at both: in name, type, work and what it allocates.
Where two such ops of the small model differ in between, or one has no counterpart and changes from the first point to
the last, the whole model is recorded at each point.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError
from tasks.tracing.derived import LIVED, Known, between_recordings, last_alike
from tasks.tracing.recording import Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.samples import Point
from tasks.tracing.stack import Stack

FEW_LAYERS = 2
_LEAST_LAYERS = 6
"""Below, the small model takes as long as it saves."""
_LEAST_BETWEEN = 2

Ints = NDArray[np.int64]


def whole_recordings(
    points: Sequence[Point], recorded: Callable[[Point], Recording], of_few: Callable[[Point], Recording]
) -> list[Recording]:
    """Recordings of the whole model at all points.

    Args:
        points: those that differ in batch and length only come first.
        recorded: records the model.
        of_few: records it with `FEW_LAYERS` layers in each stack.
    """
    first = recorded(points[0])
    last_at = last_alike(points)
    if last_at <= _LEAST_BETWEEN or first.layers < _LEAST_LAYERS or not len(first.storages):
        return [first, *(recorded(point) for point in points[1:])]
    few = _recordings_of_few(points[: last_at + 1], of_few)
    if not few:
        return [first, *(recorded(point) for point in points[1:])]
    last = recorded(points[last_at])
    between = _between(Known(few, first, last))
    if between is None:
        between = [recorded(point) for point in points[1:last_at]]
    return [first, *between, last, *(recorded(point) for point in points[last_at + 1 :])]


def _recordings_of_few(points: Sequence[Point], of_few: Callable[[Point], Recording]) -> list[Recording]:
    """Empty where the model cannot do with few layers."""
    try:
        return list(Stack([of_few(point) for point in points]).recordings)
    except (RefusedModel, TaskError):
        return []


def _between(known: Known) -> list[Recording] | None:
    small, first, last = known.fewer, known.first, known.last
    inputs = [(few.layer_input_bytes, whole.layer_input_bytes) for few, whole in ((small[0], first), (small[-1], last))]
    if first.names != last.names or first.phases != last.phases or any(few != whole for few, whole in inputs):
        return None
    places = _places(small, first, last)
    return None if places is None else between_recordings(known, places)


def _places(small: Sequence[Recording], first: Recording, last: Recording) -> Ints | None:
    """For each op of the whole model one of the small one, -1 where none is the same at both ends."""
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
