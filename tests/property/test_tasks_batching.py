"""Batches and splits: nothing is lost, nothing doubled, whatever the sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.batching import (
    epoch_batches,
    evaluation_batches,
    micro_batches,
    padded_tokens,
    steps_per_epoch,
    total_steps,
)
from tasks.schedule import learning_rate_factor
from tasks.splits import hold_out

lengths_of = st.lists(st.integers(1, 512), min_size=1, max_size=400).map(lambda values: np.array(values))


@given(lengths=lengths_of, batch_size=st.integers(1, 40), seed=st.integers(0, 2**31), epoch=st.integers(0, 5))
def test_an_epoch_has_each_sample_once(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert len(batches) == steps_per_epoch(len(lengths), batch_size)
    assert sorted(len(batch) for batch in batches)[1:] == [batch_size] * (len(batches) - 1)
    again = epoch_batches(lengths, batch_size, seed=seed, epoch=epoch)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


@given(lengths=lengths_of, batch_size=st.integers(1, 40))
def test_evaluation_sees_each_sample_once(lengths: np.ndarray, batch_size: int) -> None:
    batches = evaluation_batches(lengths, batch_size)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert int(lengths[batches[0]].max()) == int(lengths.max())


@given(lengths=lengths_of, batch_size=st.integers(1, 40), seed=st.integers(0, 99))
def test_padding_lies_between_none_and_all(lengths: np.ndarray, batch_size: int, seed: int) -> None:
    padded = padded_tokens(lengths, epoch_batches(lengths, batch_size, seed=seed, epoch=0))
    assert int(lengths.sum()) <= padded <= int(lengths.max()) * len(lengths)


def test_grouping_by_length_saves_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, size=2000)
    grouped = padded_tokens(lengths, epoch_batches(lengths, 16, seed=0, epoch=0))
    order = np.random.default_rng(1).permutation(2000)
    shuffled = padded_tokens(lengths, [order[at : at + 16] for at in range(0, 2000, 16)])
    assert grouped < 1.1 * int(lengths.sum()) < shuffled


def test_epochs_differ() -> None:
    lengths = np.full(64, 7)
    first, second = (np.concatenate(epoch_batches(lengths, 8, seed=0, epoch=epoch)) for epoch in (0, 1))
    assert first.tolist() != second.tolist()


@given(size=st.integers(1, 100), micro_batch=st.integers(1, 40), world_size=st.integers(1, 9))
def test_micro_batches_cover_the_batch(size: int, micro_batch: int, world_size: int) -> None:
    batch = np.arange(1000, 1000 + size)
    devices = [micro_batches(batch, micro_batch, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(parts) for parts in devices}) == 1
    counted = [int(index) for parts in devices for indices, count in parts for index in indices[:count]]
    assert sorted(counted) == batch.tolist()
    assert all(1 <= len(indices) <= micro_batch for parts in devices for indices, _ in parts)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=300).map(lambda values: np.array(values)),
    shares=st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49)),
    seed=st.integers(0, 99),
)
def test_held_out_parts_are_a_partition(labels: np.ndarray, shares: tuple[float, float], seed: int) -> None:
    first, second, rest = hold_out(labels, shares, seed=seed)
    assert sorted([*first, *second, *rest]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels)
    for part, share in zip((first, second), shares, strict=True):
        assert len(part) <= round(share * len(labels))


@given(
    samples=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=200).map(np.array),
    shares=st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49)),
    seed=st.integers(0, 99),
)
def test_a_group_is_never_divided(samples: np.ndarray, shares: tuple[float, float], seed: int) -> None:
    labels, groups = samples[:, 0], samples[:, 1]
    first, second, rest = hold_out(labels, shares, seed=seed, groups=groups)
    assert sorted([*first, *second, *rest]) == list(range(len(labels)))
    assert set(labels[rest]) == set(labels)
    sides = [set(groups[part]) for part in (first, second, rest)]
    assert sum(map(len, sides)) == len(set(groups))
    for part, share in zip((first, second), shares, strict=True):
        assert len(part) <= round(share * len(labels))


def test_samples_without_copies_are_drawn_as_ever() -> None:
    # A run that was begun by an earlier version goes on with the same sets.
    labels = np.array([0, 1, 1, 2, 0, 1, 2, 2, 0, 1, 0, 1, 2, 0, 1, 0, 2, 1, 0, 1])
    parts = [part.tolist() for part in hold_out(labels, (0.1, 0.2), seed=3)]
    assert parts[:2] == [[15, 17], [1, 7, 11, 18]]


@given(samples=st.integers(1, 10_000), batch_size=st.integers(1, 512), epochs=st.integers(1, 20))
def test_whole_epochs_are_whole_numbers_of_steps(samples: int, batch_size: int, epochs: int) -> None:
    assert total_steps(samples, batch_size, float(epochs), None) == epochs * steps_per_epoch(samples, batch_size)
    assert total_steps(samples, batch_size, float(epochs), 7) == 7


@given(
    total=st.integers(1, 500),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_learning_rate_stays_between_none_and_its_peak(total: int, warmup: float, schedule: str) -> None:
    factors = [
        learning_rate_factor(step, total_steps=total, warmup_ratio=warmup, schedule=schedule) for step in range(total)
    ]
    assert all(0 < factor <= 1 for factor in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
