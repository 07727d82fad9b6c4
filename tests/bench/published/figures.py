"""Figures: which measured figures of a row can be compared with a prediction, and why the others cannot.

Owns the reasons that lie in the figure itself: its unit, what it counts, or a size that no run can have had.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.catalog.accelerators import accelerator, accelerator_names
from tests.bench.published.hardware import accelerator_name
from tests.bench.published.rates import Rate, is_rate_in_flops, rate_of, rate_refusal
from tests.bench.published.rows import Memory, Row, memory_of, memory_refusal
from tests.bench.published.words import has

_LEAST_ADAMW_BYTES = 8
"""A parameter: weight, gradient and two moments of two bytes each."""
_ROUNDED = 1.05
"""Figures are rounded, and GB are taken for GiB; above this part of a card's memory the unit is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a row measured."""

    memory: Memory | None
    memory_refusal: str
    """Why the peak that is there cannot be compared; empty where it can, or where there is none."""
    rate: Rate | None
    time_refusal: str

    @property
    def refusal(self) -> str:
        """Why nothing can be compared."""
        return self.memory_refusal or self.time_refusal or "no peak of memory and no rate"


def figures_of(row: Row) -> Figures:
    """The figures of a row, each with its reason where it is there and says nothing."""
    memory, rate = memory_of(row), rate_of(row)
    unread = memory_refusal(row)
    if memory is not None and exceeds_card(row, memory):
        memory, unread = None, "more than the card holds"
    return Figures(
        memory=memory,
        memory_refusal=unread,
        rate=rate,
        time_refusal=_time_refusal(row) if rate is None else "",
    )


def _time_refusal(row: Row) -> str:
    if is_rate_in_flops(row):
        return "speed in FLOP/s or as a share of the peak, by a formula that is not stated"
    if reason := rate_refusal(row):
        return reason
    if row.value("total_time_h") is not None:
        return "only the time of a whole run, with parts that are not stated"
    return ""


def exceeds_card(row: Row, memory: Memory) -> bool:
    """Whether no card of the row's name has so much memory."""
    found = accelerator(accelerator_name(row) or "")
    if found is None or row.has_stand_in_figures:
        return False
    states_memory = has(r"\d ?gi?b", row.device) or row.value("gpu_mem_gb", "gpu_memory_gb") is not None
    family = found.name.split("-")[0]
    # A bare `A100` may be either of those that are sold.
    same = [name for name in accelerator_names() if name.split("-")[0] == family]
    cards = [found] if states_memory else [card for name in same if (card := accelerator(name)) is not None]
    return memory.value * memory.unit_bytes > _ROUNDED * max(card.memory_bytes for card in cards)


def impossible(row: Row, memory: Memory) -> str:
    """Why a figure of full training with AdamW on one device cannot be right; empty where it can."""
    parameters_b = row.value("params_b")
    is_adamw = has(r"adam", row.text("optimizer")) and not has(
        r"8[- ]?bit|adafactor|galore|lomo", row.text("optimizer")
    )
    if parameters_b is None or not is_adamw:
        return ""
    each = memory.value * memory.unit_bytes / (parameters_b * 1e9)
    return "" if each >= _LEAST_ADAMW_BYTES else "less than weights, gradients and moments of AdamW take"
