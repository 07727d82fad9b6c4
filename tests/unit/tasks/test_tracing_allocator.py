"""Tests of the replay of the caching allocator: sizes of segments, splitting, reuse and merging."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tasks.tracing.allocator import MIB, Allocator, Life, replayed

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (9 * MIB, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB + 1, 12 * MIB),
    ],
)
def test_segments_come_in_the_sizes_of_the_allocator(size: int, segment: int) -> None:
    allocator = Allocator()
    allocator.allocate(size)
    assert allocator.peak_reserved == segment
    # What is left is too little to be a block of its own.
    assert allocator.peak_allocated == (segment if size > 11 * MIB else -(-size // 512) * 512)


def test_a_freed_block_is_used_again_and_a_smaller_one_is_cut_from_it() -> None:
    allocator = Allocator()
    allocator.release(allocator.allocate(64 * MIB))
    allocator.allocate(32 * MIB)
    allocator.allocate(32 * MIB)
    assert allocator.peak_reserved == 64 * MIB


def test_neighbours_merge_and_segments_do_not() -> None:
    allocator = Allocator()
    allocator.release(allocator.allocate(64 * MIB))
    halves = [allocator.allocate(32 * MIB), allocator.allocate(32 * MIB)]
    for half in halves:
        allocator.release(half)
    allocator.allocate(64 * MIB)
    assert allocator.peak_reserved == 64 * MIB
    small = [allocator.allocate(16 * MIB), allocator.allocate(16 * MIB)]
    for one in small:
        allocator.release(one)
    allocator.allocate(32 * MIB)
    assert allocator.peak_reserved == (64 + 16 + 16 + 32) * MIB


def test_state_made_by_the_first_update_takes_what_is_free_then() -> None:
    lives = [Life(40 * MIB, 0, 1), Life(30 * MIB, 2, 3)]
    without = replayed(lives, standing=[], state=[], state_at=2)
    held = replayed(lives, standing=[20 * MIB], state=[40 * MIB], state_at=2)
    assert without.reserved == 40 * MIB
    # State settles in the block of the first step's forward pass, so that each pass needs new segments.
    assert held.allocated == (20 + 40 + 40) * MIB
    assert held.reserved == (20 + 40 + 30 + 40) * MIB
    assert held.occupied == (20 + 40 + 40) * MIB
