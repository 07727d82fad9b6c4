"""The deeper of two depths at the points between the first and the last, from the shallower: less to record.

Each op of the deeper model stands for one of the shallower, and does there what it does here: work and sizes are those
of the shallower model at the same batch and length. At the first and the last point the deeper model is recorded too.
Where what was recorded there is not what the shallower model gives, and changes from one to the other, nothing is
derived, and all points are recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.step_trace import PHASES
from tasks.tracing.counterparts import LIVED, counterparts
from tasks.tracing.layout import SmallDepths
from tasks.tracing.recording import Recording, live_bytes_of
from tasks.tracing.samples import Point
from tasks.tracing.stack import Stack, repeated_from

Ints = NDArray[np.int64]


def deeper_recordings(
    fewer: Stack, points: Sequence[Point], depths: SmallDepths, recorded: Callable[[Point], Recording]
) -> list[Recording]:
    """Recordings of the deeper model at all points.

    Args:
        fewer: the shallower model at the points.
        points: those that differ in batch and length only come first.
        depths: of both.
        recorded: records the deeper model.

    Raises:
        NotRepeatedError: the ops of the two depths do not line up.
    """
    first = recorded(points[0])
    last_at = last_alike(points)
    if last_at < 2 or not len(first.storages):
        return [first, *(recorded(point) for point in points[1:])]
    places = _places(fewer, first, depths)
    last = recorded(points[last_at])
    known = Known(fewer.recordings[: last_at + 1], first, last)
    between = between_recordings(known, places)
    if between is None and first.names == last.names and first.phases == last.phases:
        # Places can be off by one period where its end does something else than its start.
        between = between_recordings(known, counterparts(known.fewer, first, last))
    if between is None:
        between = [recorded(point) for point in points[1:last_at]]
    return [first, *between, last, *(recorded(point) for point in points[last_at + 1 :])]


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of two depths at points that differ in batch and length only."""

    fewer: Sequence[Recording]
    """At each point."""
    first: Recording
    last: Recording


def last_alike(points: Sequence[Point]) -> int:
    """Place of the last point that differs from the first in batch and length only."""
    return max(at for at, point in enumerate(points) if _is_alike(point, points[0]))


def _is_alike(a: Point, b: Point) -> bool:
    return replace(a, batch=b.batch, length=b.length) == b


def _places(fewer: Stack, first: Recording, depths: SmallDepths) -> Ints | None:
    """For each op of the deeper model that of the shallower; None where they are not of one name and type."""
    more = Stack([first])
    ends = repeated_from(fewer, more, depths)
    places = np.zeros(len(first.names), dtype=np.int64)
    for phase in PHASES:
        a, b = fewer.indices(phase), more.indices(phase)
        added, at = len(b) - len(a), np.arange(len(b))
        source = np.where(at < ends[phase] + added, at, at - added)
        if len(source) and source.max() >= len(a):
            return None
        places[b] = a[source]
    shallow = fewer.first
    for own, others in ((first.names, shallow.names), (first.kinds, shallow.kinds), (first.dtypes, shallow.dtypes)):
        if any(name != others[place] for name, place in zip(own, places.tolist(), strict=True)):
            return None
    return places


def between_recordings(known: Known, places: Ints | None) -> list[Recording] | None:
    """The deeper model between the first and the last point; None where it does not follow from the shallower.

    Args:
        known: what is recorded.
        places: for each op of the deeper model that of the shallower, -1 where none is.
    """
    if places is None:
        return None
    flops = _work(known, places, lambda recording: recording.flops)
    moved = _work(known, places, lambda recording: recording.moved_bytes)
    stands = known.first.lives[:, 3] != LIVED
    storages = _sizes(known, places, lambda recording: recording.storages, np.zeros(len(known.first.storages), bool))
    lives = _sizes(known, places, lambda recording: recording.lives, stands)
    if flops is None or moved is None or storages is None or lives is None:
        return None
    first = known.first
    return [
        replace(
            first,
            batch=shallow.batch,
            length=shallow.length,
            live_bytes=live_bytes_of(storages[at], len(first.names)),
            flops=flops[at],
            moved_bytes=moved[at],
            layer_input_bytes=shallow.layer_input_bytes,
            lives=lives[at],
            storages=storages[at],
            is_derived=True,
        )
        for at, shallow in list(enumerate(known.fewer))[1:-1]
    ]


def _work(known: Known, places: Ints, of: Callable[[Recording], NDArray[np.float64]]) -> NDArray[np.float64] | None:
    values = np.array([np.where(places >= 0, of(recording)[places], np.nan) for recording in known.fewer])
    return _taken(values, of(known.first), of(known.last))


def _sizes(known: Known, places: Ints, of: Callable[[Recording], Ints], stands: NDArray[np.bool_]) -> list[Ints] | None:
    """Rows of bytes, birth, death and kind at each point; what stands is in the order that a used model has it in."""
    tables, first, last = [of(recording) for recording in known.fewer], of(known.first), of(known.last)
    for table, other in (*((tables[0], table) for table in tables[1:]), (first, last)):
        if table.shape != other.shape or (table[:, 1:] != other[:, 1:]).any():
            return None
    rows = {key: row for row, key in enumerate(_keys(tables[0], tables[0][:, 1]))}
    # Of one op over all tensors the deeper model has more results; those have no counterpart.
    found = np.array([rows.get(key, -1) for key in _keys(first, places[first[:, 1]])], dtype=np.int64)
    values = np.array([np.where(found >= 0, table[found, 0], -1) for table in tables])
    taken = _taken(values, np.where(stands, last[:, 0], first[:, 0]), last[:, 0])
    return None if taken is None else [np.column_stack((sizes, first[:, 1:])) for sizes in taken]


def _keys(table: Ints, births: Ints) -> list[tuple[int, int, int]]:
    """Rows by what is the same in both depths: op of birth in the shallower, kind, and which of that op's it is."""
    met: Counter[tuple[int, int]] = Counter()
    found = []
    for place, own, kind in zip(births.tolist(), table[:, 1].tolist(), table[:, 3].tolist(), strict=True):
        found.append((place, kind, met[own, kind]))
        met[own, kind] += 1
    return found


def _taken(values: NDArray[Any], first: NDArray[Any], last: NDArray[Any]) -> NDArray[Any] | None:
    """Those of the shallower model, or what is the same at the first and the last point; None where neither holds."""
    is_same = (values[0] == first) & (values[-1] == last)
    if not (is_same | (first == last)).all():
        return None
    return np.where(is_same, values, first)
