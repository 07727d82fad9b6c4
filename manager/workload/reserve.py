"""Reserve: what the caching allocator holds beyond the highest sum of tensors, between the points of a trace's replay.

Sizes grow with the tokens of a micro-batch, so does what is left between blocks: linear in the batch between two points
of one length, linear in the logarithm of the length between two lengths at the same number of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from tasks.step_trace import ReservePoint, StepTrace

Pair = tuple[float, float]


def reserve_of(trace: StepTrace, *, batch: int, length: int) -> Pair | None:
    """Bytes cached, and bytes of those that cannot be given back; None where the trace has no replay."""
    by_length: dict[int, list[ReservePoint]] = {}
    for point in trace.reserve:
        by_length.setdefault(point.length, []).append(point)
    if not by_length:
        return None
    tokens = batch * length
    lengths = sorted(by_length)
    shorter = max((known for known in lengths if known <= length), default=lengths[0])
    longer = min((known for known in lengths if known >= length), default=lengths[-1])
    low, high = (_at(by_length[known], tokens / known) for known in (shorter, longer))
    if shorter == longer:
        return low
    weight = log(length / shorter) / log(longer / shorter)
    return low[0] + (high[0] - low[0]) * weight, low[1] + (high[1] - low[1]) * weight


def _at(points: Sequence[ReservePoint], batch: float) -> Pair:
    """Linear between the nearest two; below the first as there, above the last in proportion."""
    ordered = sorted(points, key=lambda point: point.batch)
    first, last = ordered[0], ordered[-1]
    if batch <= first.batch:
        return float(first.cached_bytes), float(first.held_bytes)
    if batch >= last.batch:
        share = batch / last.batch
        return last.cached_bytes * share, last.held_bytes * share
    after = next(place for place, point in enumerate(ordered) if point.batch >= batch)
    a, b = ordered[after - 1], ordered[after]
    weight = (batch - a.batch) / (b.batch - a.batch)
    return (
        a.cached_bytes + (b.cached_bytes - a.cached_bytes) * weight,
        a.held_bytes + (b.held_bytes - a.held_bytes) * weight,
    )
