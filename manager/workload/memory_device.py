"""What a device holds beside tensors: context, library workspaces, communication buffers, the allocator's reserve.

Constants are the dated table `data/memory_constants.csv`, each with its range and source; which architecture a card is
stands in `data/architectures.csv`. Refuses to know how much memory a card has: that is the catalog's.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

_UNITS = {"MiB": 2**20, "KiB": 2**10, "B": 1.0, "share": 1.0}
_DEFAULT = "*"
_UNKNOWN = "unknown"
_CPU = "cpu"
_FSDP = "fsdp"
_HANDLES = 2
"""Of cuBLAS: the backward pass runs in a thread of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One row of the table."""

    value: float
    """Bytes, or a share."""
    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDevice:
    """What one device adds to the tensors of a training step."""

    name: str
    is_cpu: bool
    context_bytes: int
    """CUDA context and loaded kernels; on a CPU the process itself."""
    workspace_bytes: int
    """cuBLAS, within what the allocator counts."""
    collectives_bytes: int
    """NCCL's buffers where several devices work together."""
    live_share: float
    """Of what changes within a step: reserved beside it, and not given back."""
    sharded_live_share: float
    """The same under FSDP."""
    loss_share: float
    """Of the loss chain at its largest: reserved beside it, and given back before the allocator fails."""
    basis: str
    """Source of the context, for people."""


def memory_device(accelerator: str | None) -> MemoryDevice:
    """The device of this name in the catalog's spelling; None is a machine without an accelerator."""
    if accelerator is None:
        return _cpu()
    architecture = architecture_of(accelerator)
    context = constant("context", accelerator, architecture or _UNKNOWN)
    basis = context.source if architecture else f"the architecture of {accelerator} is unknown: {context.source}"
    return MemoryDevice(
        name=accelerator,
        is_cpu=False,
        context_bytes=round(context.value),
        workspace_bytes=_HANDLES * round(constant("cublas_workspace", architecture or _UNKNOWN).value),
        collectives_bytes=round(constant("collectives").value),
        live_share=constant("reserve_live_share").value,
        sharded_live_share=constant("reserve_live_share", _FSDP).value,
        loss_share=constant("reserve_loss_share").value,
        basis=basis,
    )


def architecture_of(accelerator: str) -> str | None:
    """Architecture of a GPU by its name in the catalog; None where it is unknown."""
    return _architectures().get(accelerator)


def fit_margin(*, is_sharded: bool = False) -> Constant:
    """Part of the memory that a fit keeps free; more where weights are in shards, whose buffers are known less well."""
    return constant("fit_margin", *([_FSDP] if is_sharded else []))


def constant(name: str, *applies_to: str) -> Constant:
    """The row of the first of these that the table has, else the row for all.

    Raises:
        KeyError: no such constant.
    """
    table = _constants()
    for key in applies_to:
        if (name, key) in table:
            return table[name, key]
    return table[name, _DEFAULT]


def _cpu() -> MemoryDevice:
    process = constant("cpu_process")
    share = constant("reserve_live_share", _CPU).value
    return MemoryDevice(
        name=_CPU,
        is_cpu=True,
        context_bytes=round(process.value),
        workspace_bytes=0,
        collectives_bytes=0,
        live_share=share,
        sharded_live_share=share,
        loss_share=0.0,
        basis=process.source,
    )


@lru_cache(maxsize=1)
def _constants() -> dict[tuple[str, str], Constant]:
    return {(row["constant"], row["applies_to"]): _parse(row) for row in _rows("memory_constants.csv")}


@lru_cache(maxsize=1)
def _architectures() -> dict[str, str]:
    return {row["accelerator"]: row["architecture"] for row in _rows("architectures.csv")}


def _rows(file_name: str) -> list[dict[str, str]]:
    text = files("manager.workload").joinpath("data", file_name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _parse(row: dict[str, str]) -> Constant:
    scale = _UNITS[row["unit"]]
    return Constant(
        value=float(row["value"]) * scale,
        low=float(row["low"]) * scale,
        high=float(row["high"]) * scale,
        source=row["source"],
    )
