"""Packing: several samples in one sequence, so that little is padding; standard library only, the planner counts too.

Samples stay whole. They are put one behind the other and no mask keeps them apart: under causal attention a sample may
look at those before it. That costs no attention mask, so that the fastest kernels run; sequences in which each sample
is followed by its end-of-text token are how language models are pre-trained (Brown et al. 2020, arXiv:2005.14165,
appendix B).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of the samples of each sequence: best fit over samples from the longest to the shortest.

    Each sample goes into the fullest sequence that has room, so at most about 11/9 of the fewest sequences possible
    are used (Johnson et al. 1974, doi:10.1137/0203025). A pure function: the same on each machine and after each
    resume.

    Raises:
        ValueError: a sample is longer than the capacity.
    """
    sequences: list[list[int]] = []
    open_by_room: dict[int, list[int]] = {}
    rooms: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[at]
        if length > capacity:
            raise ValueError(f"a sample of {length} tokens does not fit into {capacity}")
        found = bisect.bisect_left(rooms, length)
        if found == len(rooms):
            sequence, room = len(sequences), capacity
            sequences.append([])
        else:
            room = rooms[found]
            sequence = open_by_room[room].pop()
            if not open_by_room[room]:
                del open_by_room[room]
                rooms.pop(found)
        sequences[sequence].append(at)
        left = room - length
        if left > 0:
            if left not in open_by_room:
                open_by_room[left] = []
                bisect.insort(rooms, left)
            open_by_room[left].append(sequence)
    return sequences
