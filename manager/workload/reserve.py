"""Reserve: what the caching allocator holds beyond the highest sum of tensors, between the points of a trace's replay.

Sizes grow with the tokens of a micro-batch, so does what is left between blocks: linear in the batch between two points
of one length, linear in the logarithm of the length between two lengths at the same number of tokens. A replay may
leave less between its blocks at a larger batch; the answer is the most of all smaller ones, so that memory never falls
with batch or length.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import log

from tasks.step_trace import ANY_LENGTH, ReservePoint, StepTrace

Pair = tuple[float, float]


def reserve_of(trace: StepTrace, *, batch: int, length: int) -> Pair | None:
    """Bytes cached, and bytes of those that cannot be given back; None where the trace has no replay."""
    by_length: dict[int, list[ReservePoint]] = {}
    for point in trace.reserve:
        by_length.setdefault(point.length, []).append(point)
    if not by_length:
        return None
    if ANY_LENGTH in by_length:
        return _at(by_length[ANY_LENGTH], batch)
    tokens = batch * length
    lengths = sorted(by_length)
    shorter = max((known for known in lengths if known <= length), default=lengths[0])
    longer = min((known for known in lengths if known >= length), default=lengths[-1])
    most = dict(zip(lengths, _running([_at(by_length[known], tokens / known) for known in lengths]), strict=True))
    low, high = most[shorter], most[longer]
    if shorter == longer:
        return low
    weight = log(length / shorter) / log(longer / shorter)
    return low[0] + (high[0] - low[0]) * weight, low[1] + (high[1] - low[1]) * weight


def _at(points: Sequence[ReservePoint], batch: float) -> Pair:
    """Linear between the nearest two; below the first as there, above the last in proportion."""
    ordered = sorted(points, key=lambda point: point.batch)
    batches = [point.batch for point in ordered]
    pairs = _running([(float(point.cached_bytes), float(point.held_bytes)) for point in ordered])
    if batch <= batches[0]:
        return pairs[0]
    if batch >= batches[-1]:
        share = batch / batches[-1]
        return pairs[-1][0] * share, pairs[-1][1] * share
    after = next(place for place, known in enumerate(batches) if known >= batch)
    (cached, held), (more_cached, more_held) = pairs[after - 1], pairs[after]
    weight = (batch - batches[after - 1]) / (batches[after] - batches[after - 1])
    return cached + (more_cached - cached) * weight, held + (more_held - held) * weight


def _running(pairs: Sequence[Pair]) -> list[Pair]:
    """Each pair as the largest of all up to it."""
    return list(accumulate(pairs, lambda most, one: (max(most[0], one[0]), max(most[1], one[1]))))
