"""Recording: the raw account of one traced step, op by op; what `recorder` makes and `fit` reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.step_trace import LINES, TensorSums

LIVE_COLUMNS = LINES
"""Columns of `Recording.live_bytes`, equal to LINES of the trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One step at one batch, length, rank and number of layers; N ops in their order."""

    batch: int
    length: int
    rank: int
    layers: int
    phases: tuple[str, ...]
    """N names: forward, backward, update, evaluation."""
    live_bytes: NDArray[np.int64]
    """N x columns: bytes alive at the highest moment within the op, weights and optimizer state apart; storages are
    rounded up to 512 bytes, as the caching allocator does."""
    names: tuple[str, ...]
    """N names of aten ops."""
    kinds: tuple[str, ...]
    dtypes: tuple[str, ...]
    flops: NDArray[np.float64]
    moved_bytes: NDArray[np.float64]
    weights_bytes: int
    optimizer_state_bytes: int
    parameters: int
    trainable_parameters: int
    trainable: TensorSums
    layer_weight_bytes: int
    root_weight_bytes: int
    layer_input_bytes: int
    attention: dict[str, int]
    """Attention kernels met, with the number of calls."""
    notes: tuple[str, ...]
    lives: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))
    """M x 4 allocations of training: bytes, op of birth, op of death (which still sees it), kind (0 within the step, 1
    there from the start, 2 made by the first update); empty where they were not kept."""

    slice_starts: tuple[int, ...] = ()
    """Ops at which a slice of a chunked loss begins, those of the forward pass and then those of the backward pass."""
    later: tuple[bool, ...] = ()
    """N: whether the op is one of a slice after the first; empty where the loss has no slices."""

    storages: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))
    """M x 4, all that `live_bytes` sums: bytes, op of birth, op of death, column; empty where they were not kept."""

    is_derived: bool = False
    """Whether it was computed from recordings at other points and of another depth."""

    def peak_bytes(self, phase: str | None = None) -> int:
        """Largest sum of live bytes, in one phase or in all but evaluation; weights and state apart."""
        chosen = [name == phase if phase else name != "evaluation" for name in self.phases]
        sums = self.live_bytes.sum(axis=1)[np.array(chosen, dtype=bool)]
        return int(sums.max()) if len(sums) else 0


def live_bytes_of(storages: NDArray[np.int64], ops: int) -> NDArray[np.int64]:
    """`Recording.live_bytes` of so many ops from `Recording.storages`."""
    changes = np.zeros((ops + 1, len(LIVE_COLUMNS)), dtype=np.int64)
    np.add.at(changes, (storages[:, 1], storages[:, 3]), storages[:, 0])
    np.subtract.at(changes, (storages[:, 2] + 1, storages[:, 3]), storages[:, 0])
    live: NDArray[np.int64] = changes[:ops].cumsum(axis=0)
    return live
