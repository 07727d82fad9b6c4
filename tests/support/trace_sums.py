"""Sums over the ops of a trace, later slices of a chunked loss included; worked out apart from the manager's."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.step_trace import OpGroup, Polynomial, StepTrace, monomials, monomials_of_later_slices


def training_flops(trace: StepTrace, *, batch: int, length: int) -> float:
    """FLOPs of all but the evaluation."""
    groups = _groups(trace, batch, length)
    return sum(times * _value(group.flops, at) for group, times, at in groups if group.phase != "evaluation")


def all_flops(trace: StepTrace, *, batch: int, length: int) -> float:
    """FLOPs of all phases."""
    return sum(times * _value(group.flops, at) for group, times, at in _groups(trace, batch, length))


def all_moved_bytes(trace: StepTrace, *, batch: int, length: int) -> float:
    """Bytes that all ops read and write."""
    return sum(times * _value(group.bytes, at) for group, times, at in _groups(trace, batch, length))


def op_count(trace: StepTrace, *, batch: int, length: int) -> float:
    """Ops of all phases."""
    return sum(times for _, times, _ in _groups(trace, batch, length))


def _groups(trace: StepTrace, batch: int, length: int) -> Iterator[tuple[OpGroup, float, dict[str, float]]]:
    whole = monomials(batch, length)
    yield from ((group, group.count, whole) for group in trace.ops)
    later = monomials_of_later_slices(batch, length)
    yield from ((group, group.count * (whole["C"] - 1), later) for group in trace.later_slices)


def _value(polynomial: Polynomial, at: dict[str, float]) -> float:
    return sum(coefficient * at[name] for name, coefficient in polynomial.items())
