"""Allocations of a model of any depth, from those of two small depths: a script that the allocator can replay.

The deeper of two recordings holds one period of layers more than the shallower, a run of ops in each phase. Its
allocations are repeated, once per period that the model has more: those of the forward pass in order, those of the
backward pass in reverse, so that what a layer saves dies in the copy of its own backward pass. Sizes are polynomials in
batch and length through the points of the recordings.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.step_trace import ANY_LENGTH, PHASES, ReservePoint
from tasks.tracing.allocator import Held, Schedule, replayed_schedule, schedule_of
from tasks.tracing.samples import Samples
from tasks.tracing.stack import Stack

Floats = NDArray[np.float64]
LIVED, STANDS, IS_STATE = 0, 1, 2
"""Kinds of allocation in `Recording.lives`: within the step, there from the start, made by the first update."""
_REVERSED = "backward"
_LENGTHS = (128, 512, 2048, 8192)
_TOKENS = tuple(512 << doubled for doubled in range(9))
_FEWER_TOKENS = _TOKENS[::2]
_BATCHES = (1, 4, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True, slots=True)
class Inserted:
    """The run of ops in one phase of the deeper recording that one more period of layers added."""

    first: int
    ops: int


@dataclass(frozen=True, slots=True)
class Script:
    """Allocations of one step of the whole model."""

    schedule: Schedule
    sizes: Floats
    """Coefficients, monomials x allocations."""
    standing: Floats
    state: Floats
    update_at: int
    samples: Samples

    def replay(self, *, batch: int, length: int) -> Held:
        """What the allocator holds at its highest."""
        row = self.samples.row(batch=batch, length=length)
        sizes, standing, state = ((row @ part).tolist() for part in (self.sizes, self.standing, self.state))
        return replayed_schedule(self.schedule, sizes, standing=standing, state=state, state_at=self.update_at)


def script_of(
    stack: Stack, deeper: Stack | None, samples: Samples, *, steps: int, inserted: dict[str, Inserted]
) -> Script:
    """The script of a model.

    Args:
        stack: recordings of the model, or of the shallower of two depths.
        deeper: one period more; None where the model itself was recorded.
        samples: points of the recordings.
        steps: periods of the model above the shallower depth.
        inserted: by phase, where the period that the deeper has more stands in it.
    """
    shown = deeper or stack
    lives = shown.first.lives
    sizes = samples.solve(np.array([recording.lives[:, 0] for recording in shown.recordings], dtype=np.float64))
    kinds, births, deaths = lives[:, 3], lives[:, 1], lives[:, 2]
    added = steps - 1 if deeper is not None else 0
    copies = _Copies(shown, inserted, added)
    chosen = np.flatnonzero(kinds == LIVED)
    places, starts, ends = copies.laid_out(chosen, births, deaths)
    if deeper is not None and added > 0:
        more = _grown(stack, deeper, chosen, inserted) * added
        places += more
        starts += [copies.moved(int(births[at])) for at in more]
        ends += [copies.moved(int(deaths[at])) for at in more]
    order = np.argsort(np.array(starts), kind="stable")
    return Script(
        schedule=schedule_of(np.array(starts)[order].tolist(), np.array(ends)[order].tolist()),
        sizes=sizes[:, np.array(places)[order]],
        standing=sizes[:, _repeated(stack, deeper, STANDS, added)],
        state=sizes[:, _repeated(stack, deeper, IS_STATE, added)],
        update_at=copies.moved(_update_at(shown)),
        samples=samples,
    )


def inserted_ops(fewer: Stack, more: Stack, ends: dict[str, int]) -> dict[str, Inserted]:
    """By phase, the run of ops that the deeper recording has more; `ends`: from which op of a phase of the shallower
    places count from the end."""
    found = {}
    for phase in PHASES:
        a, b = fewer.indices(phase), more.indices(phase)
        if len(b) > len(a) and phase in ends:
            found[phase] = Inserted(first=int(b[ends[phase]]), ops=len(b) - len(a))
    return found


def reserve_points(script: Script) -> tuple[ReservePoint, ...]:
    """What the allocator holds beyond the highest sum of tensors, over batches and lengths of real sizes."""
    longest = script.samples.longest
    lengths, sums = [length for length in _LENGTHS if length <= longest] or [longest], _FEWER_TOKENS
    grows = {name: bool(script.sizes[place].any()) for place, name in enumerate(script.samples.names)}
    if not grows.get("BS") and not grows.get("BSS"):
        lengths = [ANY_LENGTH]
    elif not grows.get("BSS"):
        # Nothing grows with the square of the length: tokens alone count.
        lengths, sums = lengths[:2][-1:], _TOKENS
    found = []
    for length in lengths:
        steps = _BATCHES if length == ANY_LENGTH else sorted({max(1, tokens // length) for tokens in sums})
        for batch in steps:
            held = script.replay(batch=batch, length=length or min(longest, _LENGTHS[0]))
            found.append(
                ReservePoint(
                    batch=batch,
                    length=length,
                    cached_bytes=held.reserved - held.allocated,
                    held_bytes=max(0, held.occupied - held.allocated),
                )
            )
    return tuple(found)


class _Copies:
    """Where the ops of the deeper recording stand in the model: inserted runs are repeated in place."""

    def __init__(self, stack: Stack, inserted: dict[str, Inserted], added: int) -> None:
        self.runs = sorted(inserted.items(), key=lambda item: item[1].first)
        self.added = added

    def moved(self, op: int) -> int:
        """Place of an op that is not repeated; of one in a run, its first copy."""
        return op + self.added * sum(run.ops for _, run in self.runs if op >= run.first + run.ops)

    def laid_out(
        self, chosen: NDArray[np.int64], births: NDArray[np.int64], deaths: NDArray[np.int64]
    ) -> tuple[list[int], list[int], list[int]]:
        """Indices, births and deaths of all copies."""
        places: list[int] = []
        starts: list[int] = []
        ends: list[int] = []
        for at in chosen.tolist():
            birth, death = int(births[at]), int(deaths[at])
            phase = self._phase(birth)
            for copy in range(self.added + 1 if phase else 1):
                places.append(at)
                starts.append(self._place(birth, copy, phase))
                ends.append(max(starts[-1], self._place(death, copy, phase, born=birth)))
        return places, starts, ends

    def _phase(self, op: int) -> str:
        return next((phase for phase, run in self.runs if run.first <= op < run.first + run.ops), "")

    def _place(self, op: int, copy: int, phase: str, *, born: int | None = None) -> int:
        """Place of an op of the copy-th layer period (counted in the order of the forward pass)."""
        if not phase:
            if born is not None and (here := self._phase(op)):
                # Born outside of the layers and last used in one of them: in the last that runs.
                return self._in_run(op, here, 0 if here == _REVERSED else self.added)
            return self.moved(op)
        for other, run in self.runs:
            # What a layer leaves is used up within a period around the run.
            if run.first - run.ops <= op < run.first + 2 * run.ops:
                return self._in_run(op, other, copy)
        return self.moved(op)

    def _in_run(self, op: int, phase: str, copy: int) -> int:
        run = dict(self.runs)[phase]
        before = self.added * sum(other.ops for _, other in self.runs if other.first < run.first)
        turn = self.added - copy if phase == _REVERSED else copy
        return op + before + turn * run.ops


def _grown(stack: Stack, deeper: Stack, chosen: NDArray[np.int64], inserted: dict[str, Inserted]) -> list[int]:
    """Allocations that an op of the deeper recording makes more: those of one op over all layers."""
    if "update" in inserted:
        return []
    b, start = deeper.first.lives, _update_at(deeper)
    before = Counter(
        (birth - _update_at(stack), size)
        for size, birth, _, kind in stack.first.lives.tolist()
        if kind == LIVED and birth >= _update_at(stack)
    )
    extra: list[int] = []
    for at in chosen.tolist():
        birth = int(b[at, 1])
        if birth < start:
            continue
        key = (birth - start, int(b[at, 0]))
        if before[key] > 0:
            before[key] -= 1
        else:
            extra.append(at)
    return extra


def _update_at(stack: Stack) -> int:
    phases = stack.first.phases
    return next((at for at, phase in enumerate(phases) if phase == "update"), len(phases))


def _repeated(stack: Stack, deeper: Stack | None, kind: int, added: int) -> list[int]:
    shown = deeper or stack
    here = np.flatnonzero(shown.first.lives[:, 3] == kind).tolist()
    if deeper is None or added <= 0:
        return here
    before = Counter(stack.first.lives[stack.first.lives[:, 3] == kind][:, 0].tolist())
    extra = []
    for at in here:
        size = int(deeper.first.lives[at, 0])
        if before[size] > 0:
            before[size] -= 1
        else:
            extra.append(at)
    return here + extra * added
