"""Accelerators by SkyPilot's names: memory, peak rates, bandwidth, each row with its source and date.

Owns the table `data/accelerators.csv`, the one table of other spellings, `data/accelerator_aliases.csv`, and the one
of cards that machines hold under a more general name, `data/accelerator_variants.csv`. It refuses
to guess: a name in neither table has no specification (None), and a rate that the silicon lacks is None, never 0.
Memory comes from here alone, because the memory fields of price catalogs disagree in unit and in meaning.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

_TPU_SLICE = re.compile(r"^(?P<generation>tpu-[a-z0-9]+)-(?P<size>[0-9]+)$", re.IGNORECASE)
_TENSOR_CORES_PER_CHIP = 2
_GENERATIONS_COUNTED_IN_CORES = frozenset({"tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5p"})
"""Google names slices of these generations by TensorCores, two per chip; newer ones by chips (Cloud TPU docs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One accelerator, or one chip of a TPU slice; rates are dense peaks from data sheets, not what a job reaches."""

    name: str
    """SkyPilot's name, in the spelling that was looked up where that names a TPU slice."""
    vendor: str
    kind: str
    """`gpu`, `tpu` or `other`; the training program runs on `gpu` alone."""
    chips: int = 1
    """Chips in one unit of this name: 1, except for TPU slices such as tpu-v5litepod-8."""
    memory_bytes: int
    """Memory of one chip as the driver or the cloud's API reports it, else nominal (`memory_source` tells)."""
    memory_source: str
    peak_bf16_flops_per_s: float | None
    """Dense, with float32 accumulation; None where the hardware has no bfloat16 or the figure is unknown."""
    peak_fp16_flops_per_s: float | None
    peak_tf32_flops_per_s: float | None
    peak_fp32_flops_per_s: float | None
    """Outside the tensor cores."""
    memory_bandwidth_bytes_per_s: float | None
    interconnect: str | None
    """Link between accelerators of one machine; None where there is none besides the bus, or unknown."""
    interconnect_bytes_per_s: float | None
    """Both directions together, per accelerator; None where unknown."""
    certainty: str
    """How sure the row is: high, medium or low."""
    as_of: str
    """ISO date on which the row was written down."""
    source: str

    @property
    def supports_bf16(self) -> bool:
        """Whether the hardware multiplies in bfloat16."""
        return self.peak_bf16_flops_per_s is not None


def accelerator(name: str) -> Accelerator | None:
    """The specification behind a name, in any known spelling; None when nothing is known about it.

    A TPU slice (`tpu-v5litepod-8`) gives the figures of one chip and the number of chips.
    """
    table = _table()
    known = table.get(name) or table.get(_canonical().get(name.casefold(), ""))
    if known is not None:
        return known
    match = _TPU_SLICE.match(name)
    chip = table.get(_canonical().get(match["generation"].casefold(), "")) if match else None
    if match is None or chip is None:
        return None
    size = int(match["size"])
    per_chip = _TENSOR_CORES_PER_CHIP if chip.name in _GENERATIONS_COUNTED_IN_CORES else 1
    return replace(chip, name=name, chips=max(1, size // per_chip))


def accelerator_names() -> tuple[str, ...]:
    """Names of the table; other spellings of the same are known too."""
    return tuple(_table())


def variant_in(name: str, *, instance_type: str | None, count: float) -> str:
    """Name of the card that a machine really holds, where price sources call several cards by one name.

    Args:
        name: as the price source calls the accelerator.
        instance_type: the provider's name of the machine; None: unknown.
        count: accelerators of the machine.
    """
    machine = (instance_type or "").casefold()
    for row in _variants():
        if row["accelerator"] == name and count >= int(row["fewest"]) and row["instance_type_has"] in machine:
            return row["variant"]
    return name


@lru_cache(maxsize=1)
def _variants() -> list[dict[str, str]]:
    return _rows("accelerator_variants.csv")


@lru_cache(maxsize=1)
def _table() -> dict[str, Accelerator]:
    """Rows by name, read at the first look-up."""
    return {row["name"]: _parse(row) for row in _rows("accelerators.csv")}


@lru_cache(maxsize=1)
def _canonical() -> dict[str, str]:
    """Case-folded spelling -> name in the table."""
    spellings = {name.casefold(): name for name in _table()}
    for row in _rows("accelerator_aliases.csv"):
        spellings[row["alias"].casefold()] = row["name"]
    return spellings


def _rows(file_name: str) -> list[dict[str, str]]:
    text = files("manager.catalog").joinpath("data", file_name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _parse(row: dict[str, str]) -> Accelerator:
    return Accelerator(
        name=row["name"],
        vendor=row["vendor"],
        kind=row["kind"],
        memory_bytes=int(row["memory_mib"]) * 2**20,
        memory_source=row["memory_source"],
        peak_bf16_flops_per_s=_scaled(row["bf16_tflops"], 1e12),
        peak_fp16_flops_per_s=_scaled(row["fp16_tflops"], 1e12),
        peak_tf32_flops_per_s=_scaled(row["tf32_tflops"], 1e12),
        peak_fp32_flops_per_s=_scaled(row["fp32_tflops"], 1e12),
        memory_bandwidth_bytes_per_s=_scaled(row["memory_gb_per_s"], 1e9),
        interconnect=None if row["interconnect"] in ("", "none") else row["interconnect"],
        interconnect_bytes_per_s=_scaled(row["interconnect_gb_per_s"], 1e9),
        certainty=row["certainty"],
        as_of=row["as_of"],
        source=row["source"],
    )


def _scaled(text: str, unit: float) -> float | None:
    return float(text) * unit if text else None
