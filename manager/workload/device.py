"""Device: the speed at which one accelerator (or a CPU) does the work of a profile.

Peaks come from the catalog, the share of them that a job reaches from the dated table `data/efficiency.csv` with a
source per row. A regime that the silicon lacks has no device, since the training program refuses it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from manager.catalog.accelerators import Accelerator

_MICROSECOND = 1e-6
_HALF_WIDTH = 400
"""Width at which bf16 products reach half of what wide ones do; fitted to bert-base (768) and 7B models (4096)."""
CPU = "cpu"
_DEFAULT = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Shares of the peak that training reaches on one accelerator."""

    matmul_bf16: float
    """With wide layers; narrow ones reach width / (width + 400) of it."""
    matmul_fp32: float
    bandwidth: float
    issue_s_per_op: float
    """Seconds that the host needs to issue one op in eager mode: the floor of short sequences."""
    unsupported: str | None
    """Why the training program cannot run there; None: it can."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What one data-parallel replica computes with."""

    name: str
    is_cpu: bool
    matmul_flops_per_s: float
    """Reached rate of matrix products in the regime of the run."""
    memory_bytes_per_s: float
    """Reached bandwidth of element-wise ops."""
    issue_s_per_op: float
    basis: str
    """Where the rates come from, for people."""


def efficiency(name: str) -> Efficiency:
    """The row of this accelerator in SkyPilot's spelling (`cpu` for none), else the row of all others."""
    table = _table()
    return table.get(name) or table[_DEFAULT]


def gpu_device(accelerator: Accelerator, *, precision: str, width: int, share: float = 1.0) -> Device | None:
    """The device for a run in this regime; None when the table of accelerators lacks its rates.

    Args:
        accelerator: specification from the catalog.
        precision: fp32, bf16-mixed or bf16.
        width: hidden size of the model; tensor cores starve on narrow matrices.
        share: part of the accelerator that was rented (partitioned GPUs), 0 to 1.
    """
    reached = efficiency(accelerator.name)
    bandwidth = accelerator.memory_bandwidth_bytes_per_s
    in_bf16 = precision != "fp32"
    peak = accelerator.peak_bf16_flops_per_s if in_bf16 else accelerator.peak_fp32_flops_per_s
    if peak is None or bandwidth is None:
        return None
    matmul = reached.matmul_bf16 * width / (width + _HALF_WIDTH) if in_bf16 else reached.matmul_fp32
    kind = "bf16" if in_bf16 else "fp32"
    return Device(
        name=accelerator.name,
        is_cpu=False,
        matmul_flops_per_s=peak * matmul * share,
        memory_bytes_per_s=bandwidth * reached.bandwidth * share,
        issue_s_per_op=reached.issue_s_per_op,
        basis=f"{matmul:.0%} of {peak / 1e12:g} TFLOP/s {kind}, {reached.bandwidth:.0%} of "
        f"{bandwidth / 1e9:g} GB/s; {reached.source}",
    )


def cpu_device(*, vcpus: float, flops_per_s_per_vcpu: float, memory_bytes_per_s: float) -> Device:
    """A machine without an accelerator, from assumed rates per vCPU; bf16 is taken to be no faster than fp32 there."""
    return Device(
        name=CPU,
        is_cpu=True,
        matmul_flops_per_s=vcpus * flops_per_s_per_vcpu,
        memory_bytes_per_s=memory_bytes_per_s,
        issue_s_per_op=efficiency(CPU).issue_s_per_op,
        basis=f"{vcpus:g} vCPU at {flops_per_s_per_vcpu / 1e9:g} GFLOP/s each, {memory_bytes_per_s / 1e9:g} GB/s",
    )


@lru_cache(maxsize=1)
def _table() -> dict[str, Efficiency]:
    """Rows by accelerator, read at the first look-up."""
    lines = files("manager.workload").joinpath("data", "efficiency.csv").read_text(encoding="utf-8").splitlines()
    return {row["accelerator"]: _parse(row) for row in csv.DictReader(lines)}


def _parse(row: dict[str, str]) -> Efficiency:
    return Efficiency(
        matmul_bf16=float(row["matmul_bf16"]),
        matmul_fp32=float(row["matmul_fp32"]),
        bandwidth=float(row["bandwidth"]),
        issue_s_per_op=float(row["issue_us"]) * _MICROSECOND,
        unsupported=row["unsupported"] or None,
        source=row["source"],
    )
