"""Recorder: follows every op and every storage of a step, and tells what was alive when.

Owns counting only. It knows neither models nor devices: whose kernels run is `meta_kernels`, what a storage is for is
told by tags. Storages are followed by weak references, so that a tensor dies here when it dies in the real run.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from tasks.tracing.flop_formulas import op_flops
from tasks.tracing.op_facts import Facts, facts_of, is_moved_known, moved_bytes, tensors_in, type_of
from tasks.tracing.recording import LIVE_COLUMNS
from tasks.tracing.remembered import Known, Work, run

BLOCK_BYTES = 512
"""CUDA's caching allocator rounds sizes up to this."""

STANDING = ("weights", "optimizer_state")
"""Tags of storages that stand beside the columns of a recording."""


@dataclass(slots=True)
class Life:
    """One storage between birth and death; both count ops, and the op at which it dies still sees it."""

    bytes: int
    birth: int
    phase: str
    death: int | None = None
    tag: str | None = None


@dataclass(slots=True)
class Op:
    """One op that ran."""

    name: str
    phase: str
    kind: str
    dtype: str
    flops: float
    moved_bytes: float
    workspace_bytes: int


Substitute = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
"""Runs an op in place of torch; NotImplemented leaves it to torch."""
Workspace = Callable[[str, Sequence[Any]], int]
"""Bytes that a kernel takes from the allocator while it runs, by the op's name and arguments."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records ops and storages of one device type while it is entered."""

    def __init__(
        self,
        *,
        device_type: str,
        substitute: Substitute | None = None,
        workspace: Workspace | None = None,
        vocabulary: int | None = None,
        remembers: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = "forward"
        self.section = ""
        """`loss` or `optimizer` within those; empty elsewhere."""
        self.is_recording = True
        """False: storages are followed, ops are not."""
        self.ops: list[Op] = []
        self.lives: list[Life] = []
        self._device_type = device_type
        self._substitute = substitute
        self._workspace = workspace
        self._vocabulary = vocabulary
        self._remembers = remembers
        self._live: dict[int, Life] = {}
        self._references: dict[int, Any] = {}
        self._resize: Any = None

    @contextmanager
    def in_section(self, name: str) -> Iterator[None]:
        """Within the block ops and new storages belong to the section."""
        before, self.section = self.section, name
        try:
            yield
        finally:
            self.section = before

    def follow(self, tensor: torch.Tensor, tag: str | None = None) -> None:
        """Follow the tensor's storage from now on; a tag says what it is for and replaces an earlier one."""
        if tensor.device.type == self._device_type:
            self._follow(tensor, tag)

    def _follow(self, tensor: torch.Tensor, tag: str | None) -> None:
        storage = tensor.untyped_storage()
        life = self._live.get(storage._cdata)
        if life is None:
            life = self._begin(storage)
            if life is None:
                return
            if self.section == "loss" or self._is_logits(tensor):
                life.tag = "loss_chain"
        if tag is not None:
            life.tag = tag

    def storage_bytes(self, tag: str) -> int:
        """Sum over living storages with this tag."""
        return sum(life.bytes for life in self._live.values() if life.tag == tag)

    def storages(self) -> NDArray[np.int64]:
        """What was alive within the step: see `Recording.storages`."""
        count = len(self.ops)
        backward_at = next((at for at, op in enumerate(self.ops) if op.phase == "backward"), count)
        rows = []
        for life in self.lives:
            if life.tag in STANDING or life.birth >= count:
                continue
            death = count - 1 if life.death is None else life.death
            if death >= life.birth:
                rows.append((life.bytes, life.birth, death, LIVE_COLUMNS.index(_column(life, death, backward_at))))
        column = LIVE_COLUMNS.index("temporaries")
        rows += [(op.workspace_bytes, at, at, column) for at, op in enumerate(self.ops) if op.workspace_bytes]
        return np.array(rows, dtype=np.int64).reshape(-1, 4)

    def allocations(self) -> NDArray[np.int64]:
        """M x 4 allocations of training, by birth: bytes, birth, death, kind (see `Recording.lives`)."""
        count = next((at for at, op in enumerate(self.ops) if op.phase == "evaluation"), len(self.ops))
        rows = []
        for life in self.lives:
            death = count - 1 if life.death is None else min(life.death, count - 1)
            if life.tag in STANDING:
                rows.append((life.bytes, 0, 0, 1 + STANDING.index(life.tag)))
            elif life.birth < count and death >= life.birth:
                rows.append((life.bytes, life.birth, death, 0))
        rows += [(op.workspace_bytes, at, at, 0) for at, op in enumerate(self.ops[:count]) if op.workspace_bytes]
        return np.array(rows, dtype=np.int64).reshape(-1, 4)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and the guard against it costs as much as a small op.
        return False

    def __enter__(self) -> Recorder:
        # Sharded training frees and restores weights by resizing storages, which is no op.
        self._resize = original = torch.UntypedStorage.resize_

        def resize(storage: torch.UntypedStorage, size: int) -> torch.UntypedStorage:
            result: torch.UntypedStorage = original(storage, size)
            self._resized(storage)
            return result

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign,assignment]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(*exception)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for kind in types:
            if kind.__name__ == "DTensor":
                # It unwraps itself, and its local ops come back here.
                return NotImplemented
        facts = facts_of(func)
        out = NotImplemented if self._substitute is None else self._substitute(func, args, kwargs)
        known: Known | None = None
        if out is NotImplemented:
            if self._remembers and facts.is_pure:
                out, known = run(facts, args, kwargs)
            else:
                out = func(*args, **kwargs)
        if not facts.is_view:
            self._ran(facts, args, kwargs, out, known)
        return out

    def _ran(self, facts: Facts, args: Any, kwargs: Any, out: Any, known: Known | None) -> None:
        """Write an op down; what is remembered has been on this device."""
        results = [out] if isinstance(out, torch.Tensor) else tensors_in(out)
        work = None if known is None else known.work
        if work is None:
            inputs = tensors_in((args, kwargs))
            if not any(part.device.type == self._device_type for part in (*inputs, *results)):
                return
            if self.is_recording:
                work = Work(
                    dtype=type_of(inputs, results),
                    flops=op_flops(facts.func, args, kwargs, out),
                    moved_bytes=moved_bytes(facts.func, args, inputs, results),
                )
                if known is not None and is_moved_known(inputs):
                    known.work = work
        for result in results:
            if result.device.type == self._device_type:
                self._follow(result, None)
        if work is not None and self.is_recording:
            kind = "update" if self.section == "optimizer" else facts.kind
            space = 0 if self._workspace is None else rounded(self._workspace(facts.name, args))
            self.ops.append(Op(facts.name, self.phase, kind, work.dtype, work.flops, work.moved_bytes, space))

    def _begin(self, storage: torch.UntypedStorage) -> Life | None:
        size = storage.nbytes()
        if size == 0:
            return None
        key = storage._cdata
        life = Life(bytes=rounded(size), birth=len(self.ops), phase=self.phase)
        self.lives.append(life)
        self._live[key] = life
        self._references[key] = weakref.ref(storage, functools.partial(self._forget, key))
        return life

    def _forget(self, key: int, _reference: object) -> None:
        self._end(key)

    def _end(self, key: int) -> None:
        life = self._live.pop(key, None)
        self._references.pop(key, None)
        if life is not None:
            life.death = len(self.ops) - 1

    def _resized(self, storage: torch.UntypedStorage) -> None:
        life = self._live.get(storage._cdata)
        if life is None or life.bytes == rounded(storage.nbytes()):
            return
        self._end(storage._cdata)
        renewed = self._begin(storage)
        if renewed is not None:
            renewed.tag = life.tag

    def _is_logits(self, tensor: torch.Tensor) -> bool:
        return (
            self._vocabulary is not None
            and self.is_recording
            and tensor.dim() >= 2
            and tensor.shape[-1] == self._vocabulary
            and tensor.numel() > self._vocabulary
        )


def rounded(size: int) -> int:
    """Bytes as the caching allocator hands them out."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _column(life: Life, death: int, backward_at: int) -> str:
    """Which line a storage counts in."""
    is_saved = life.phase == "forward" and life.birth < backward_at <= death
    if life.tag == "checkpoint_stash" and not is_saved:
        return "temporaries"
    if life.tag is not None:
        return life.tag
    return "activations" if is_saved else "temporaries"
