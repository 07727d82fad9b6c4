"""Efficiencies: the part of its peaks that a family of accelerators reaches, with the fit's band; dated tables.

Owns `data/accelerator_families.csv` (which architecture an accelerator is, and which part of its matrix peak power and
clocks sustain), `data/speeds.csv` (fitted shares and fixed costs), `data/speed_software.csv`, `data/speed_bands.csv`.
The last three are written by `tests/bench/fit_speeds.py` from published measurements. A family without measurements
has the pooled row and a band that is wider than any measured one, by a stated assumption.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files

from manager.units import Interval

POOLED = "*"
"""The family that stands for all without measurements of their own."""
_MICROSECOND = 1e-6
_TIMES = ("launch", "issue", "issue_backward", "step", "tensor")
_UNLISTED_SUSTAINED = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """How a training program's ops become kernels; which one a recipe uses is an input, never a guess."""

    name: str
    """eager: module by module, as transformers, PEFT, timm and our own program; fused: one kernel for a chain, as
    torch.compile, Apex, Transformer Engine, Liger; fused-2023: the same with the first generation of flash attention,
    as llm-foundry's Triton kernels; hpu: graphs that Gaudi's compiler makes of recorded ops; xla: whole steps compiled,
    as on TPUs."""
    moved_share: float
    """Bytes that elementwise kernels move, over those of the traced eager step."""
    ops_share: float
    """Kernels launched and ops issued, over those of the traced eager step."""
    attention_share: float = 1.0
    """Speed of fused attention, over that of FlashAttention 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies:
    """What a family reaches: shares of its peaks, fixed costs per op."""

    matmul_half: float
    """Products in bfloat16 and float16, of the sustained peak of matrix units."""
    matmul_tf32: float
    """Products in float32 on matrix units, of their sustained peak."""
    matmul_fp32: float
    """Any arithmetic in float32 outside matrix units, of their peak."""
    attention: float
    """Fused attention, of the sustained peak."""
    convolution: float
    """Convolutions on matrix units, of the sustained peak, on a small device."""
    convolution_last: float
    """The same with channels-last memory."""
    convolution_limit: float
    """PFLOP/s that convolutions would reach on a device of any speed: images do not fill large ones."""
    narrow_half: float
    """Of the memory bandwidth, by convolutions with few channels per group (depthwise) in half precision."""
    narrow_last: float
    """The same with channels-last memory."""
    narrow_single: float
    """The same in float32, whose kernels are older."""
    narrow_flops: float
    """Arithmetic of those convolutions in half precision, of the float32 peak: it adds to the time of their bytes."""
    narrow_flops_single: float
    """The same in float32."""
    bandwidth: float
    """Of the memory bandwidth, by kernels that only move bytes."""
    epilogue: float
    """Instructions per byte that a product reads and writes, spent on tiles while its matrix units wait."""
    layout: float
    """How often a convolution on matrix units moves its bytes once more to order them by channel, where images are not
    channels-last."""
    exposed: float
    """Part of the shorter of arithmetic and memory time of a product that the longer one does not hide."""
    interference: float
    """Part by which computation slows down while devices exchange data under it."""
    launch_s: float
    """Per kernel, on the device."""
    issue_s: float
    """Per op of the forward pass, on the host, in Python."""
    issue_backward_s: float
    """Per op of the backward pass and the update, on the host, from C++."""
    step_s: float
    """Per micro-step, on the host: the next batch, hooks of the loop, the loss read."""
    tensor_s: float
    """Per trainable tensor and update, on the host: the optimizer's loops over parameters, in Python."""
    copy_gb_per_second: float
    """GB/s of inputs from pageable memory of the host, for which the device waits."""


EFFICIENCY_NAMES = tuple(field.name for field in fields(Efficiencies))


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRow:
    """One row of `data/speeds.csv`."""

    family: str
    efficiencies: Efficiencies
    rows: int
    """Published measurements on this family behind the fit; 0: pooled from the others."""
    source: str


def family_of(accelerator_name: str) -> tuple[str, float]:
    """Family and sustained share of the matrix peak, by the catalog's name; the pooled family for one not listed."""
    table = _families()
    # Slices of TPUs carry their size behind the generation.
    return (
        table.get(accelerator_name) or table.get(accelerator_name.rpartition("-")[0]) or (POOLED, _UNLISTED_SUSTAINED)
    )


def family_row(family: str) -> FamilyRow:
    """The fitted row of a family, else the pooled one."""
    table = _speeds()
    return table.get(family) or table[POOLED]


def software(name: str) -> Software:
    """eager, fused, fused-2023, hpu or xla.

    Raises:
        KeyError: no such software.
    """
    return _software()[name]


def band_of(family: str, software_name: str) -> Interval:
    """Factor on the expected seconds: low, 1, high; expected is what the fit predicts, not the middle of the band.

    Ends are the 10th and 90th percentile of measured over predicted in sources that the fit had not seen, but never
    closer to 1 than the floor in the row's `source`; without measurements they are an assumption, widened from the
    widest measured band. The closest row counts: family and software, family alone (other makers' kernels), software
    alone, all.
    """
    table = _bands()
    for key in ((family, software_name), (family, POOLED), (POOLED, software_name), (POOLED, POOLED)):
        if key in table:
            return table[key]
    raise KeyError((POOLED, POOLED))


def _read(name: str) -> list[dict[str, str]]:
    text = files("manager.workload").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@lru_cache(maxsize=1)
def _families() -> dict[str, tuple[str, float]]:
    return {row["accelerator"]: (row["family"], float(row["sustained"])) for row in _read("accelerator_families.csv")}


@lru_cache(maxsize=1)
def _speeds() -> dict[str, FamilyRow]:
    return {row["family"]: _family_row(row) for row in _read("speeds.csv")}


def _family_row(row: dict[str, str]) -> FamilyRow:
    shares = {name: float(row[name]) for name in EFFICIENCY_NAMES if not name.endswith("_s")}
    times = {f"{name}_s": float(row[f"{name}_us"]) * _MICROSECOND for name in _TIMES}
    return FamilyRow(
        family=row["family"],
        efficiencies=Efficiencies(**shares, **times),
        rows=int(row["rows"]),
        source=row["source"],
    )


@lru_cache(maxsize=1)
def _software() -> dict[str, Software]:
    return {
        row["name"]: Software(
            name=row["name"],
            moved_share=float(row["moved_share"]),
            ops_share=float(row["ops_share"]),
            attention_share=float(row["attention_share"]),
        )
        for row in _read("speed_software.csv")
    }


@lru_cache(maxsize=1)
def _bands() -> dict[tuple[str, str], Interval]:
    return {
        (row["family"], row["software"]): Interval(low=float(row["low"]), expected=1.0, high=float(row["high"]))
        for row in _read("speed_bands.csv")
    }
