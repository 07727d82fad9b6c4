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
from typing import NamedTuple

MIB = 2**20
BLOCK_BYTES = 512
_SMALL_REQUEST = MIB
_SMALL_SEGMENT = 2 * MIB
_MIDDLE_REQUEST = 10 * MIB
_MIDDLE_SEGMENT = 20 * MIB
_LARGE_STEP = 2 * MIB
_NUMBER_BITS = 32
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1
"""Blocks are numbered as they are made; a listed block is its size above its number."""
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
    __slots__ = ("after", "before", "bytes", "free", "is_free", "number", "segment")

    def __init__(self, size: int, segment: _Segment, free: list[int], number: int) -> None:
        self.bytes = size
        self.segment = segment
        self.free = free
        """Where it is listed while it is free: small or large ones."""
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
    """The allocator of one device.

    Free blocks are listed by size and age as one number each, which sorts in a fraction of the time of a pair.
    """

    def __init__(self) -> None:
        self._small: list[int] = []
        self._large: list[int] = []
        self._blocks: list[_Block] = []
        """All that there ever were, by number."""
        self._allocated = self._reserved = self._occupied = 0
        self.peak_allocated = self.peak_reserved = self.peak_occupied = 0

    def allocate(self, size: float) -> _Block:
        """A block of at least this size."""
        return self.take(rounded(size))

    def take(self, wanted: int) -> _Block:
        """A block of a size that is rounded already."""
        is_small = wanted <= _SMALL_REQUEST
        free = self._small if is_small else self._large
        place = bisect_left(free, wanted << _NUMBER_BITS)
        if place < len(free):
            block = self._blocks[free.pop(place) & _NUMBER_MASK]
        else:
            block = self._new_segment(wanted, free, is_small)
        rest = block.bytes - wanted
        if rest >= BLOCK_BYTES if is_small else rest > _SMALL_REQUEST:
            self._split(block, wanted, rest)
        block.is_free = False
        segment = block.segment
        if segment.living == 0:
            self._occupied += segment.bytes
            if self._occupied > self.peak_occupied:
                self.peak_occupied = self._occupied
        segment.living += 1
        self._allocated += block.bytes
        if self._allocated > self.peak_allocated:
            self.peak_allocated = self._allocated
        return block

    def release(self, block: _Block) -> None:
        """Give a block back to the cache."""
        self._allocated -= block.bytes
        segment, free = block.segment, block.free
        segment.living -= 1
        if segment.living == 0:
            self._occupied -= segment.bytes
        block.is_free = True
        before, after = block.before, block.after
        if before is not None and before.is_free:
            free.pop(bisect_left(free, before.bytes << _NUMBER_BITS | before.number))
            before.bytes += block.bytes
            before.after = after
            if after is not None:
                after.before = before
            block = before
        if after is not None and after.is_free:
            free.pop(bisect_left(free, after.bytes << _NUMBER_BITS | after.number))
            block.bytes += after.bytes
            block.after = after.after
            if after.after is not None:
                after.after.before = block
        insort(free, block.bytes << _NUMBER_BITS | block.number)

    def _new_segment(self, wanted: int, free: list[int], is_small: bool) -> _Block:
        if is_small:
            size = _SMALL_SEGMENT
        elif wanted < _MIDDLE_REQUEST:
            size = _MIDDLE_SEGMENT
        else:
            size = -(-wanted // _LARGE_STEP) * _LARGE_STEP
        self._reserved += size
        self.peak_reserved = max(self.peak_reserved, self._reserved)
        return self._new_block(size, _Segment(size), free)

    def _new_block(self, size: int, segment: _Segment, free: list[int]) -> _Block:
        block = _Block(size, segment, free, len(self._blocks))
        self._blocks.append(block)
        return block

    def _split(self, block: _Block, wanted: int, left: int) -> None:
        free, after = block.free, block.after
        rest = self._new_block(left, block.segment, free)
        rest.before, rest.after = block, after
        if after is not None:
            after.before = rest
        block.after, block.bytes = rest, wanted
        insort(free, left << _NUMBER_BITS | rest.number)


def rounded(size: float) -> int:
    """Whole blocks of 512 bytes, at least one."""
    return max(1, -(-int(size) // BLOCK_BYTES)) * BLOCK_BYTES


Schedule = list[tuple[int, list[int], list[int]]]
"""Ops in their order that allocate or release: places of the allocations born with each, and of those that die."""


def schedule_of(births: Sequence[int], deaths: Sequence[int]) -> Schedule:
    """What each op allocates and what it releases; made once for many replays at other sizes."""
    born: dict[int, list[int]] = {}
    died: dict[int, list[int]] = {}
    for place, (birth, death) in enumerate(zip(births, deaths, strict=True)):
        born.setdefault(birth, []).append(place)
        died.setdefault(death, []).append(place)
    return [(op, born.get(op, []), died.get(op, [])) for op in sorted(born.keys() | died.keys())]


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
    _allocate_all(allocator, standing)
    wanted = [rounded(size) if size > 0 else 0 for size in sizes]
    for step in range(steps):
        is_state_due = step == 0
        living: dict[int, _Block] = {}
        for op, births, deaths in schedule:
            if is_state_due and op >= state_at:
                _allocate_all(allocator, state)
                is_state_due = False
            for place in births:
                if wanted[place]:
                    living[place] = allocator.take(wanted[place])
            for place in deaths:
                if place in living:
                    allocator.release(living.pop(place))
        if is_state_due:
            _allocate_all(allocator, state)
        for block in living.values():
            allocator.release(block)
    return Held(allocated=allocator.peak_allocated, reserved=allocator.peak_reserved, occupied=allocator.peak_occupied)


def _allocate_all(allocator: Allocator, sizes: Iterable[float]) -> None:
    for size in sizes:
        allocator.allocate(size)
