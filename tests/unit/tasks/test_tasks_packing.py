"""Packing loses no sample and fills its sequences."""

from __future__ import annotations

import random

import pytest

from tasks.packing import pack


@pytest.mark.parametrize("seed", range(5))
def test_each_sample_is_packed_once_and_no_sequence_overflows(seed: int) -> None:
    chooser = random.Random(seed)
    lengths = [chooser.randint(1, 64) for _ in range(500)]
    sequences = pack(lengths, 64)
    assert sorted(at for sequence in sequences for at in sequence) == list(range(500))
    assert max(sum(lengths[at] for at in sequence) for sequence in sequences) <= 64
    # Best fit decreasing needs at most 11/9 of the fewest possible, of which the sum of lengths is a lower bound.
    assert len(sequences) <= 11 / 9 * (sum(lengths) / 64 + 1) + 1


def test_what_fits_exactly_is_put_together() -> None:
    assert sorted(map(sorted, pack([3, 5, 5, 3, 8, 2, 6], 8))) == [[0, 2], [1, 3], [4], [5, 6]]


def test_it_is_the_same_each_time() -> None:
    lengths = [random.Random(1).randint(1, 9) for _ in range(200)]
    assert pack(lengths, 16) == pack(list(lengths), 16)


def test_a_sample_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="9 tokens does not fit into 8"):
        pack([9], 8)
