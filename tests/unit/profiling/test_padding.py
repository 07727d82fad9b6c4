"""Padding of micro-batches: no more than that of the whole batch, no less than that of smaller ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.profiling.padding import padded_means
from manager.workload.build import build_profile
from manager.workload.profile import DataStats, PaddedMean
from tests.support.plan_factory import make_data, make_entry, make_gpu_offer, make_spec, make_traces
from tests.support.planning import judge_machine

LENGTHS = st.lists(st.integers(1, 2_000), min_size=1, max_size=300)


def stats_of(lengths: list[int], batch_size: int) -> DataStats:
    """A data set of these lengths."""
    parts = padded_means(lengths, batch_size=batch_size, seed=0)
    return replace(
        make_data(samples=1792, longest=max(lengths)), padded_mean_tokens=parts[-1].tokens, padded_means=parts
    )


@given(lengths=LENGTHS, batch_size=st.integers(1, 64), first=st.floats(1, 80), second=st.floats(1, 80))
def test_padding_grows_with_the_micro_batch(lengths: list[int], batch_size: int, first: float, second: float) -> None:
    stats = stats_of(lengths, batch_size)
    small, large = sorted((first, second))
    assert stats.padded_tokens_at(small) <= stats.padded_tokens_at(large) * (1 + 1e-12)
    assert stats.padded_tokens_at(1) == pytest.approx(sum(lengths) / len(lengths))
    assert stats.padded_tokens_at(batch_size) == stats.padded_tokens_at(1000) == stats.padded_mean_tokens
    assert stats.padded_tokens_at(large) <= max(lengths) * (1 + 1e-12)


@settings(deadline=None)  # The first example loads NumPy.
@given(lengths=LENGTHS, batch_size=st.integers(16, 64))
def test_both_counts_agree_where_the_shuffle_has_no_part(lengths: list[int], batch_size: int) -> None:
    numpy = pytest.importorskip("numpy")
    from tasks.figures import length_figures

    found = length_figures(numpy.array(lengths), truncated=0, batch_size=batch_size, seed=7)["padded_means"]
    mine = padded_means(lengths, batch_size=batch_size, seed=0)
    assert [part["samples"] for part in found] == [part.samples for part in mine]
    assert [part["tokens"] for part in found] == pytest.approx([part.tokens for part in mine])


def test_between_measured_parts_padding_follows_the_logarithm() -> None:
    parts = tuple(PaddedMean(samples=samples, tokens=tokens) for samples, tokens in ((1, 10.0), (4, 20.0), (6, 21.0)))
    stats = replace(make_data(), padded_means=parts)
    assert [stats.padded_tokens_at(samples) for samples in (0.5, 1, 2, 4, 6, 60)] == [10, 10, 15, 20, 21, 21]
    assert replace(stats, padded_means=()).padded_tokens_at(1) == stats.padded_mean_tokens


def test_a_small_micro_batch_pays_for_less_padding() -> None:
    uneven = stats_of([50] * 900 + [900] * 100, 64)
    even = replace(uneven, padded_means=())

    def hours(data: DataStats, micro_batch: int | None) -> float:
        spec = make_spec(batch_size=64, micro_batch=micro_batch)
        profile = build_profile(spec, make_entry(), data, make_traces(spec=spec))
        offer = make_gpu_offer()
        verdict = judge_machine(profile, make_traces(spec=spec), offer, accelerator("L4"), shipped_assumptions(), None)
        return next(phase.expected_s for phase in verdict.timed if phase.name == "training") / 3600

    assert hours(uneven, 64) == pytest.approx(hours(even, 64))
    assert hours(uneven, 8) < hours(even, 8)
