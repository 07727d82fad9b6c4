"""The allocator's reserve between the points of a replay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.workload.memory_answer import memory_of
from manager.workload.memory_device import memory_device
from manager.workload.placement import Placement
from manager.workload.reserve import reserve_of
from tasks.step_trace import ReservePoint, StepTrace
from tests.support.trace_factory import make_trace

A100 = memory_device("A100")
SIZES = st.integers(0, 10**9)


def with_points(*points: tuple[int, int, int, int]) -> StepTrace:
    """A trace with a replay at these batches and lengths: cached and held bytes."""
    found = tuple(
        ReservePoint(batch=batch, length=length, cached_bytes=cached, held_bytes=min(held, cached))
        for batch, length, cached, held in points
    )
    return replace(make_trace(), reserve=found)


def test_between_two_batches_the_reserve_is_linear() -> None:
    trace = with_points((2, 100, 1000, 200), (6, 100, 3000, 600))
    assert reserve_of(trace, batch=4, length=100) == (2000, 400)
    assert reserve_of(trace, batch=1, length=100) == (1000, 200)
    assert reserve_of(trace, batch=12, length=100) == (6000, 1200)
    assert reserve_of(trace, batch=8, length=50) == (2000, 400)


def test_between_two_lengths_it_follows_the_logarithm() -> None:
    trace = with_points((4, 100, 1000, 0), (1, 400, 3000, 0))
    found = reserve_of(trace, batch=2, length=200)
    assert found == pytest.approx((2000, 0))


def test_a_smaller_replay_at_a_larger_batch_does_not_lower_it() -> None:
    trace = with_points((1, 64, 900, 500), (2, 64, 100, 700), (4, 64, 1000, 600))
    assert reserve_of(trace, batch=2, length=64) == (900, 500)
    assert reserve_of(trace, batch=4, length=64) == (1000, 600)


def test_the_answer_takes_the_replay_of_the_step_that_was_traced_only() -> None:
    trace = with_points((1, 64, 10**9, 10**8))

    def reserve(**others: object) -> int:
        return memory_of(trace, batch=1, length=64, device=A100, **others).allocator_reserve  # type: ignore[arg-type]

    assert reserve() == 10**9
    assert memory_of(trace, batch=1, length=64, device=A100).reclaimable_bytes == 9 * 10**8
    assert reserve(placement=Placement(replicas=2, sharding="ddp")) == 10**9
    for others in ({"placement": Placement(replicas=2, sharding="fsdp")}, {"optimizer": "sgd"}):
        assert reserve(**others) < 10**8
    assert reserve_of(make_trace(), batch=1, length=64) is None


@given(
    points=st.lists(
        st.tuples(st.sampled_from([1, 2, 8, 32]), st.sampled_from([64, 512, 2048]), SIZES, SIZES),
        min_size=1,
        max_size=8,
        unique_by=lambda point: point[:2],
    ),
    batch=st.integers(1, 100),
    length=st.integers(1, 5000),
    more=st.tuples(st.integers(0, 30), st.integers(0, 500)),
)
def test_memory_never_falls_whatever_the_replay_found(
    points: list[tuple[int, int, int, int]], batch: int, length: int, more: tuple[int, int]
) -> None:
    trace = with_points(*points)
    small = memory_of(trace, batch=batch, length=length, device=A100)
    large = memory_of(trace, batch=batch + more[0], length=length + more[1], device=A100)
    assert small.total_bytes <= large.total_bytes
    assert small.needed_bytes <= large.needed_bytes
