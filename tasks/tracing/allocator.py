"""What the CUDA caching allocator holds for a step: a replay of its allocations, block by block.

Follows c10/cuda/CUDACachingAllocator.cpp of torch 2.13 with its default settings: sizes in blocks of 512 bytes;
requests up to 1 MiB from segments of 2 MiB, up to 10 MiB from segments of 20 MiB, larger ones from segments of their
own in steps of 2 MiB; best fit; a block is split when at least 512 bytes (small) or more than 1 MiB (large) are left;
free neighbours are merged. Streams and garbage collection are left out: one stream, and no limit on memory.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

MIB = 2**20
BLOCK_BYTES = 512
_SMALL_REQUEST = MIB
_SMALL_SEGMENT = 2 * MIB
_MIDDLE_REQUEST = 10 * MIB
_MIDDLE_SEGMENT = 20 * MIB
_LARGE_STEP = 2 * MIB
_STEPS = 2
"""Steps that are replayed: the optimizer's state comes with the first update, between blocks of the first step."""


class Life(NamedTuple):
    """One allocation of a step; both ends count ops, and the op at which it ends still sees it."""

    bytes: float
    birth: int
    death: int


@dataclass(frozen=True, slots=True)
class Held:
    """Peaks over a replay."""

    allocated: int
    reserved: int
    """Segments taken from the driver."""
    occupied: int
    """Segments with a living block at any one time: what is left when free segments are given back."""


class _Block:
    __slots__ = ("after", "before", "bytes", "is_free", "is_small", "number", "segment")

    def __init__(self, size: int, segment: _Segment, is_small: bool, number: int) -> None:
        self.bytes = size
        self.segment = segment
        self.is_small = is_small
        self.number = number
        self.is_free = True
        self.before: _Block | None = None
        self.after: _Block | None = None


class _Segment:
    __slots__ = ("bytes", "living")

    def __init__(self, size: int) -> None:
        self.bytes = size
        self.living = 0


class Allocator:
    """The allocator of one device."""

    def __init__(self) -> None:
        self._free: dict[bool, list[tuple[int, int, _Block]]] = {True: [], False: []}
        self._numbers = count()
        self._allocated = self._reserved = self._occupied = 0
        self.peak_allocated = self.peak_reserved = self.peak_occupied = 0

    def allocate(self, size: float) -> _Block:
        """A block of at least this size."""
        wanted = max(1, -(-int(size) // BLOCK_BYTES)) * BLOCK_BYTES
        is_small = wanted <= _SMALL_REQUEST
        free = self._free[is_small]
        place = bisect_left(free, (wanted, -1))
        block = free.pop(place)[2] if place < len(free) else self._new_segment(wanted, is_small)
        rest = block.bytes - wanted
        if rest >= BLOCK_BYTES if is_small else rest > _SMALL_REQUEST:
            self._split(block, wanted)
        block.is_free = False
        segment = block.segment
        if segment.living == 0:
            self._occupied += segment.bytes
            self.peak_occupied = max(self.peak_occupied, self._occupied)
        segment.living += 1
        self._allocated += block.bytes
        self.peak_allocated = max(self.peak_allocated, self._allocated)
        return block

    def release(self, block: _Block) -> None:
        """Give a block back to the cache."""
        self._allocated -= block.bytes
        block.segment.living -= 1
        if block.segment.living == 0:
            self._occupied -= block.segment.bytes
        block.is_free = True
        if block.before is not None and block.before.is_free:
            block = self._merge(block.before, block)
        if block.after is not None and block.after.is_free:
            block = self._merge(block, block.after, is_second_listed=True)
        insort(self._free[block.is_small], (block.bytes, block.number, block))

    def _new_segment(self, wanted: int, is_small: bool) -> _Block:
        if is_small:
            size = _SMALL_SEGMENT
        elif wanted < _MIDDLE_REQUEST:
            size = _MIDDLE_SEGMENT
        else:
            size = -(-wanted // _LARGE_STEP) * _LARGE_STEP
        self._reserved += size
        self.peak_reserved = max(self.peak_reserved, self._reserved)
        return _Block(size, _Segment(size), is_small, next(self._numbers))

    def _split(self, block: _Block, wanted: int) -> None:
        rest = _Block(block.bytes - wanted, block.segment, block.is_small, next(self._numbers))
        rest.before, rest.after = block, block.after
        if block.after is not None:
            block.after.before = rest
        block.after, block.bytes = rest, wanted
        insort(self._free[block.is_small], (rest.bytes, rest.number, rest))

    def _merge(self, first: _Block, second: _Block, *, is_second_listed: bool = False) -> _Block:
        listed = second if is_second_listed else first
        free = self._free[listed.is_small]
        free.pop(bisect_left(free, (listed.bytes, listed.number)))
        first.bytes += second.bytes
        first.after = second.after
        if second.after is not None:
            second.after.before = first
        return first


Schedule = tuple[dict[int, list[int]], dict[int, list[int]]]
"""Places of allocations by the op of their birth, and by that of their death."""


def schedule_of(births: Sequence[int], deaths: Sequence[int]) -> Schedule:
    """What each op allocates and what it releases; made once for many replays at other sizes."""
    born: dict[int, list[int]] = {}
    died: dict[int, list[int]] = {}
    for place, (birth, death) in enumerate(zip(births, deaths, strict=True)):
        born.setdefault(birth, []).append(place)
        died.setdefault(death, []).append(place)
    return born, died


def replayed(
    lives: Sequence[Life], *, standing: Iterable[float], state: Iterable[float], state_at: int, steps: int = _STEPS
) -> Held:
    """Peaks of what the allocator holds over some steps.

    Args:
        lives: allocations of one step, by birth.
        standing: sizes of what is there from the start: weights and buffers.
        state: sizes of the optimizer's state, which comes with the first update.
        state_at: op at which the first update makes it.
        steps: that are replayed.
    """
    schedule = schedule_of([life.birth for life in lives], [life.death for life in lives])
    sizes = [life.bytes for life in lives]
    return replayed_schedule(schedule, sizes, standing=standing, state=state, state_at=state_at, steps=steps)


def replayed_schedule(
    schedule: Schedule,
    sizes: Sequence[float],
    *,
    standing: Iterable[float],
    state: Iterable[float],
    state_at: int,
    steps: int = _STEPS,
) -> Held:
    """The same from a schedule and the sizes of its allocations; those of size 0 are left out."""
    allocator = Allocator()
    for size in standing:
        allocator.allocate(size)
    births, deaths = schedule
    busy = sorted(births.keys() | deaths.keys() | {state_at})
    for step in range(steps):
        living: dict[int, _Block] = {}
        for op in busy:
            if step == 0 and op == state_at:
                for size in state:
                    allocator.allocate(size)
            for place in births.get(op, ()):
                if sizes[place] > 0:
                    living[place] = allocator.allocate(sizes[place])
            for place in deaths.get(op, ()):
                block = living.pop(place, None)
                if block is not None:
                    allocator.release(block)
        for block in living.values():
            allocator.release(block)
    return Held(allocated=allocator.peak_allocated, reserved=allocator.peak_reserved, occupied=allocator.peak_occupied)
