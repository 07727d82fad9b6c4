"""The whole model at all points, where layers do not repeat in one stack: most of it from a model of few layers.

Encoders with decoders, towers of two kinds: no two depths give a third, but the ops of a model with two layers in each
stack are those of all its layers. The whole model is recorded at the first and the last point; between them each of its
ops does what its counterpart in the small model does there. Where an op has none and changes from the first point to
the last, the whole model is recorded at each point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.failures import TaskError
from tasks.tracing.counterparts import counterparts
from tasks.tracing.derived import Known, between_recordings, last_alike
from tasks.tracing.recording import Recording
from tasks.tracing.refusal import RefusedModel
from tasks.tracing.samples import Point
from tasks.tracing.stack import Stack

FEW_LAYERS = 2
_LEAST_LAYERS = 6
"""Below, the small model takes as long as it saves."""
_LEAST_BETWEEN = 2


def whole_recordings(
    points: Sequence[Point], recorded: Callable[[Point], Recording], of_few: Callable[[Point], Recording]
) -> list[Recording]:
    """Recordings of the whole model at all points.

    Args:
        points: those that differ in batch and length only come first.
        recorded: records the model.
        of_few: records it with `FEW_LAYERS` layers in each stack.
    """
    first = recorded(points[0])
    last_at = last_alike(points)
    if last_at <= _LEAST_BETWEEN or first.layers < _LEAST_LAYERS or not len(first.storages):
        return [first, *(recorded(point) for point in points[1:])]
    few = _recordings_of_few(points[: last_at + 1], of_few, first)
    if not few:
        return [first, *(recorded(point) for point in points[1:])]
    last = recorded(points[last_at])
    between = _between(Known(few, first, last))
    if between is None:
        between = [recorded(point) for point in points[1:last_at]]
    return [first, *between, last, *(recorded(point) for point in points[last_at + 1 :])]


def _recordings_of_few(
    points: Sequence[Point], of_few: Callable[[Point], Recording], whole: Recording
) -> list[Recording]:
    """Empty where the model cannot do with few layers, or those lack ops of the others."""
    try:
        one = of_few(points[0])
        if not _ops(whole) <= _ops(one):
            return []
        return list(Stack([one, *(of_few(point) for point in points[1:])]).recordings)
    except (RefusedModel, TaskError):
        return []


def _ops(recording: Recording) -> set[tuple[str, str, str]]:
    return set(zip(recording.phases, recording.names, recording.dtypes, strict=True))


def _between(known: Known) -> list[Recording] | None:
    small, first, last = known.fewer, known.first, known.last
    inputs = [(few.layer_input_bytes, whole.layer_input_bytes) for few, whole in ((small[0], first), (small[-1], last))]
    if first.names != last.names or first.phases != last.phases or any(few != whole for few, whole in inputs):
        return None
    return between_recordings(known, counterparts(small, first, last))
