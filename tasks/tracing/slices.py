"""Recordings of a chunked loss cut into one, two or three slices, brought to the same ops: those of two slices.

Slices repeat as layers do. With two there is the one that runs first and one that comes after it, in the forward pass
and again in the backward pass, where gradients of the hidden states gather and the head's gradient is added up. Of
three the middle one is left out: the last is the one beside which most is alive. A single slice is shown in the place
of both; what only a slice after the first does takes the memory of the op before it then, and its work from two slices.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from tasks.tracing.recording import Recording
from tasks.tracing.refusal import RefusedModel

_PASSES = 2
"""Each slice runs in the forward pass, and is made again in the backward pass."""
_WINDOW = 8
"""Ops more than a slice has, among which its own are looked for: what waits for all slices may run within the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """Which ops belong to a slice in one pass, whatever it is cut into."""

    first: int
    """Ops of the first slice."""
    later: tuple[int, ...]
    """Ops of a slice after the first, as places in the last."""
    twins: tuple[int | None, ...]
    """The op of the first slice that does the same as each of those."""
    single: tuple[int | None, ...]
    """Ops of the first slice, as places in an only one."""

    @property
    def last(self) -> int:
        """Ops until the last slice is done, with what runs within it once."""
        return self.later[-1] + 1


def in_two_slices(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings with the ops of two slices each, and `later` filled in; as they are where nothing is sliced.

    Args:
        recordings: in one, two and three slices; one of three and one of a single slice with equally many tokens in
            each, and for each of a single slice one of two at its batch and length.

    Raises:
        RefusedModel: the slices do other things each.
    """
    if not any(recording.slice_starts for recording in recordings):
        return list(recordings)
    three = next(recording for recording in recordings if _slices(recording) == 3)
    one = next(other for other in recordings if _slices(other) == 1 and 3 * _tokens(other) == _tokens(three))
    shapes = _shapes(three, one)
    found = []
    for recording in recordings:
        if _slices(recording) == 1:
            twin = next(other for other in recordings if _slices(other) == _PASSES and _is_alike(other, recording))
            found.append(_doubled(recording, twin, shapes))
        else:
            found.append(_marked(_without_middle(recording), shapes))
    return found


def _slices(recording: Recording) -> int:
    return len(recording.slice_starts) // _PASSES


def _tokens(recording: Recording) -> int:
    return recording.batch * recording.length


def _is_alike(a: Recording, b: Recording) -> bool:
    return (a.batch, a.length, a.rank) == (b.batch, b.length, b.rank)


def _shapes(three: Recording, one: Recording) -> tuple[_Shape, ...]:
    found = []
    for at, alone in zip((0, 3), one.slice_starts, strict=True):
        a, b, c = three.slice_starts[at : at + 3]
        first, middle = _codes(three, a, b), _codes(three, b, c)
        later = _places(middle, _codes(three, c, c + len(middle) + _WINDOW))
        if None in later:
            raise RefusedModel("The slices of a chunked loss do not repeat here.", field="loss")
        found.append(
            _Shape(
                first=len(first),
                later=tuple(place for place in later if place is not None),
                twins=_places(middle, first),
                single=_places(first, _codes(one, alone, alone + len(first) + _WINDOW)),
            )
        )
    return tuple(found)


def _codes(recording: Recording, start: int, end: int) -> list[Hashable]:
    """What tells ops of equally large slices apart."""
    moved = recording.moved_bytes[start:end].tolist()
    return list(zip(recording.names[start:end], recording.dtypes[start:end], moved, strict=True))


def _places(ops: list[Hashable], among: list[Hashable]) -> tuple[int | None, ...]:
    """Where each op stands among others."""
    found = {
        block.a + at: block.b + at
        for block in SequenceMatcher(None, ops, among, autojunk=False).get_matching_blocks()
        for at in range(block.size)
    }
    return tuple(found.get(at) for at in range(len(ops)))


def _without_middle(recording: Recording) -> Recording:
    """A recording of two slices as it is, one of three without the second of each pass."""
    if _slices(recording) == _PASSES:
        return recording
    a, b, c, d, e, f = recording.slice_starts
    kept = np.r_[0:b, c:e, f : len(recording.names)]
    return _rows(recording, kept, starts=(a, b, d - (c - b), e - (c - b)))


def _marked(recording: Recording, shapes: tuple[_Shape, ...]) -> Recording:
    later = np.zeros(len(recording.names), dtype=bool)
    for start, shape in zip(recording.slice_starts[1::2], shapes, strict=True):
        later[[start + place for place in shape.later]] = True
    return replace(recording, later=tuple(later.tolist()))


def _doubled(one: Recording, twin: Recording, shapes: tuple[_Shape, ...]) -> Recording:
    """The only slice in the place of both."""
    sources: list[int] = []
    own: list[int] = []
    taken = 0
    for at, (start, shape) in enumerate(zip(one.slice_starts, shapes, strict=True)):
        sources += range(taken, start)
        following = twin.slice_starts[2 * at + 1] + shape.last
        end = _next(one, at + 1) - (_next(twin, 2 * at + 2) - following)
        for place in _both(shape, end - start):
            if place is None:
                own.append(len(sources))
            sources.append(sources[-1] if place is None else start + place)
        taken = end
    sources += range(taken, len(one.names))
    doubled = _rows(one, np.array(sources), starts=twin.slice_starts)
    if len(doubled.names) != len(twin.names):
        return one  # Other ops differ too, and are named where recordings are laid over each other.
    return _marked(_with_rows_of(doubled, twin, own), shapes)


def _next(recording: Recording, at: int) -> int:
    starts = (*recording.slice_starts, len(recording.names))
    return starts[at]


def _both(shape: _Shape, length: int) -> Iterator[int | None]:
    """Places in an only slice of so many ops for those of the first and of the last of two; None: it has no such op."""
    yield from shape.single
    within = dict(zip(shape.later, shape.twins, strict=True))
    for place in range(shape.last):
        if place in within:
            twin = within[place]
            yield None if twin is None else shape.single[twin]
        else:
            # What waits for all slices stands as far from the end.
            yield length - (shape.last - place)


def _with_rows_of(recording: Recording, other: Recording, rows: list[int]) -> Recording:
    """The recording with the names and the work of some ops of another."""
    chosen = set(rows)

    def mixed(own: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(others[at] if at in chosen else value for at, value in enumerate(own))

    flops, moved = recording.flops.copy(), recording.moved_bytes.copy()
    flops[rows], moved[rows] = other.flops[rows], other.moved_bytes[rows]
    return replace(
        recording,
        names=mixed(recording.names, other.names),
        kinds=mixed(recording.kinds, other.kinds),
        dtypes=mixed(recording.dtypes, other.dtypes),
        flops=flops,
        moved_bytes=moved,
    )


def _rows(recording: Recording, rows: NDArray[np.int64], *, starts: tuple[int, ...]) -> Recording:
    """Some ops of a recording; allocations are left out, whose places would be others."""
    chosen = rows.tolist()
    return replace(
        recording,
        phases=tuple(recording.phases[at] for at in chosen),
        live_bytes=recording.live_bytes[rows],
        names=tuple(recording.names[at] for at in chosen),
        kinds=tuple(recording.kinds[at] for at in chosen),
        dtypes=tuple(recording.dtypes[at] for at in chosen),
        flops=recording.flops[rows],
        moved_bytes=recording.moved_bytes[rows],
        lives=recording.lives[:0],
        slice_starts=starts,
    )
