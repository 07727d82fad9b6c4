"""Recordings of one model at several batches and lengths, laid over each other; and two depths made into a third.

The live bytes after each op are affine in the number of layers when ops are matched to their place: those near the
start of a phase counted from its start, those near its end from its end. Inside the repeated part the highest moment
lies in the first or in the last layer, so that both ends together hold every peak of a model of any depth.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.failures import TaskError
from tasks.protocol import FailureCode
from tasks.step_trace import PHASES
from tasks.tracing.layout import SmallDepths
from tasks.tracing.recording import Recording

Floats = NDArray[np.float64]

OpKey = tuple[str, str, str, str, tuple[float, ...], tuple[float, ...], bool]
"""Phase, kind, dtype, name, FLOPs at each point, bytes at each point, whether it is of a slice after the first."""

_PROBE_TOLERANCE = 1e-4
_PROBE_BLOCKS_BYTES = 4096
"""A few blocks of the allocator: the list of all norms, for one, grows by four bytes a tensor."""
_NO_KERNEL = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})


class NotRepeatedError(ValueError):
    """Two depths do not line up: the layers of this model do not repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Live bytes of one step, op by op, at each point."""

    phases: tuple[str, ...]
    """N names."""
    live_bytes: Floats
    """Points x N x columns."""


class Stack:
    """Recordings of one depth at all points; the ops of all are the same."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        """Lay recordings over each other.

        Raises:
            TaskError: internal, when ops depend on batch or length.
        """
        self.first = recordings[0]
        self.recordings = tuple(recordings)
        for other in recordings[1:]:
            if other.names != self.first.names or other.phases != self.first.phases:
                raise TaskError(
                    FailureCode.INTERNAL,
                    f"Which ops run depends on {_what_differs(self.first, other)} here: "
                    f"{_first_difference(self.first, other)}.",
                    hint="Such a model runs its tokens, or its samples, one after the other; it cannot be planned yet.",
                )
        self.live_bytes: Floats = np.array([recording.live_bytes for recording in recordings], dtype=np.float64)
        self.flops: Floats = np.array([recording.flops for recording in recordings], dtype=np.float64)
        self.moved_bytes: Floats = np.array([recording.moved_bytes for recording in recordings], dtype=np.float64)

    def moments(self) -> Moments:
        """All moments."""
        return Moments(phases=self.first.phases, live_bytes=self.live_bytes)

    def indices(self, phase: str) -> NDArray[np.int64]:
        """Ops of one phase."""
        return np.array([at for at, name in enumerate(self.first.phases) if name == phase], dtype=np.int64)

    def ops(self) -> Counter[OpKey]:
        """Ops that launch a kernel, counted by what they do."""
        first = self.first
        work = zip(self.flops.T.tolist(), self.moved_bytes.T.tolist(), strict=True)
        later = first.later or (False,) * len(first.names)
        rows = zip(first.phases, first.kinds, first.dtypes, first.names, work, later, strict=True)
        return Counter(
            (phase, kind, dtype, name, tuple(flops), tuple(moved), is_later)
            for phase, kind, dtype, name, (flops, moved), is_later in rows
            if any(flops) or any(moved) or name.partition(".")[0] not in _NO_KERNEL
        )

    def codes(self, rows: NDArray[np.int64]) -> list[Hashable]:
        """What tells ops apart: name, type and bytes at the first point."""
        first = self.first
        return [(first.names[row], first.dtypes[row], float(first.moved_bytes[row])) for row in rows]


def check_probe(fewer: Stack, more: Stack, depths: SmallDepths, probe: Recording) -> None:
    """Compare the highest moments that two depths give for a third with those recorded there, at the first point.

    Raises:
        NotRepeatedError: they differ.
    """
    expected = deepen_moments(fewer, more, depths.to_probe())
    sums = expected.live_bytes[0].sum(axis=1)
    for phase in dict.fromkeys(probe.phases):
        at = np.array([name == phase for name in expected.phases], dtype=bool)
        recorded = probe.peak_bytes(phase)
        if abs(float(sums[at].max(initial=0.0)) - recorded) > max(_PROBE_BLOCKS_BYTES, _PROBE_TOLERANCE * recorded):
            raise NotRepeatedError(f"memory of {phase} does not grow evenly with the number of layers")


def deepen_moments(fewer: Stack, more: Stack, depths: SmallDepths) -> Moments:
    """Moments at either end of each phase of the deep model.

    Raises:
        NotRepeatedError: the ops of the two depths do not line up.
    """
    phases: list[str] = []
    parts: list[Floats] = []
    for phase in PHASES:
        a, b = fewer.indices(phase), more.indices(phase)
        start, end = _ends(fewer.codes(a), more.codes(b), depths)
        for rows_a, rows_b in ((a[:start], b[:start]), (a[end:], b[len(b) - len(a) + end :])):
            before, after = fewer.live_bytes[:, rows_a], more.live_bytes[:, rows_b]
            parts.append(before + (after - before) * depths.steps)
            phases += [phase] * len(rows_a)
    return Moments(phases=tuple(phases), live_bytes=np.concatenate(parts, axis=1))


def repeated_from(fewer: Stack, more: Stack, depths: SmallDepths) -> dict[str, int]:
    """By phase, the place in it at which the ops of one more period can be thought inserted.

    Raises:
        NotRepeatedError: the ops of the two depths do not line up.
    """
    return {
        phase: _ends(fewer.codes(fewer.indices(phase)), more.codes(more.indices(phase)), depths)[1] for phase in PHASES
    }


def _ends(a: list[Hashable], b: list[Hashable], depths: SmallDepths) -> tuple[int, int]:
    """Up to which op of the shallow phase places count from the start, and from which on from the end.

    The two overlap by one period in the middle of those that repeat, so that a whole period is seen at either end and
    what only the first or the last layer has beside it is not taken for growth.
    """
    added = len(b) - len(a)
    if added == 0:
        # No layer leaves an op of its own here: places are the same, only sizes differ.
        if [code[0] for code in a] != [code[0] for code in b]:  # type: ignore[index]
            raise NotRepeatedError("a phase has other ops with another number of layers")
        return len(a), len(a)
    same_start, same_end = _common(a, b), _common(a[::-1], b[::-1])
    repeats = (same_start + same_end - len(a)) // added if added > 0 else 0
    if repeats < 1:
        raise NotRepeatedError(f"ops of {depths.fewer} and {depths.more} layers do not line up")
    # Ops that happen to be alike before and after the repeated part make its place uncertain by a few.
    lowest, highest = same_start - repeats * added, len(a) - same_end
    end = round((lowest + highest) / 2) + repeats // 2 * added
    return end + added, end


def _common(a: list[Hashable], b: list[Hashable]) -> int:
    """Length of the common start."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def deepen_ops(fewer: Stack, more: Stack, depths: SmallDepths) -> Counter[OpKey]:
    """Ops of the deep model by what they do.

    Ops of repeated layers grow in number; single ops over all layers (the fused update, the norm of all gradients) grow
    in size, and are matched by their names.

    Raises:
        NotRepeatedError: an op of the shallow model has no counterpart in the deeper one.
    """
    a, b = fewer.ops(), more.ops()
    deep: Counter[OpKey] = Counter()
    gone, come = _by_label(a - b), _by_label(Counter({key: count for key, count in b.items() if key not in a}))
    for label, before in gone.items():
        after = come.pop(label, [])
        if len(after) != len(before):
            raise NotRepeatedError(f"{label[3]} runs {len(before)} and {len(after)} times")
        deep.update(_grown(*pair, depths.steps) for pair in zip(before, after, strict=True))
    if come:
        raise NotRepeatedError(f"{next(iter(come))[3]} runs in the deeper model only")
    for key, count in a.items():
        if b[key] >= count:
            deep[key] += count + (b[key] - count) * depths.steps
        else:
            deep[key] += b[key]
    return +deep


def _by_label(ops: Counter[OpKey]) -> dict[tuple[str, str, str, str, bool], list[OpKey]]:
    """Ops, each as often as it runs, by phase, kind, dtype and name, the smaller first."""
    found: dict[tuple[str, str, str, str, bool], list[OpKey]] = defaultdict(list)
    for key in sorted(ops.elements()):
        found[*key[:4], key[6]].append(key)
    return found


def _grown(a: OpKey, b: OpKey, steps: int) -> OpKey:
    flops, moved = (
        tuple(x + (y - x) * steps for x, y in zip(before, after, strict=True))
        for before, after in ((a[4], b[4]), (a[5], b[5]))
    )
    return (*a[:4], flops, moved, a[6])


def _what_differs(a: Recording, b: Recording) -> str:
    if a.batch == b.batch:
        return "the length of samples"
    return "the number of samples" if a.length == b.length else "number and length of samples"


def _first_difference(a: Recording, b: Recording) -> str:
    at = _common(list(a.names), list(b.names))
    names = [recording.names[at] if at < len(recording.names) else "the end" for recording in (a, b)]
    return (
        f"op {at} is {names[0]} at {a.batch} x {a.length} and {names[1]} at {b.batch} x {b.length} "
        f"({len(a.names)} and {len(b.names)} ops)"
    )
