"""Which card a catalog's row means, and its memory, which always comes from our table of accelerators.

Price catalogs give a memory too (`GpuInfo`), but RunPod writes GiB into a field of MiB, Vast the sum of all cards, AWS
the part of a shared one, Azure and TPU rows no figure at all. It is believed in one case only: where a cloud calls
several cards by one name (Vast's A100 has 40 or 80 GB), it chooses among the cards of our table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from manager.catalog.accelerators import accelerator, accelerator_names, variant_in
from manager.units import MIB

_SUM_OVER_CARDS = frozenset({"vast"})
"""Clouds with one name for several cards; the figure is the memory of all cards of the machine."""
_FIGURE = re.compile(r"'SizeInMiB': ([0-9]+)")
_TOLERANCE = 0.1
"""Drivers report up to so much less or more than the nominal memory; the cards of one name differ by far more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of the accelerators of one machine."""

    memory_bytes: int | None
    """Per accelerator; None is unknown."""
    flags: tuple[str, ...] = ()
    """`card_by_memory` or `card_not_known`, where one name means several cards."""
    differs: bool = False
    """The catalog's figure is another one."""


def card_of(cloud: str, name: str, instance_type: str, count: float, gpu_info: str) -> Card:
    """The card behind a name in a catalog.

    Args:
        cloud: SkyPilot's name.
        name: the catalog's name of the accelerator.
        instance_type: names the variant on some clouds (`1x-H100_NVL-...`).
        count: accelerators of the machine.
        gpu_info: the catalog's cell, may be empty.
    """
    known = accelerator(variant_in(name, instance_type=instance_type, count=count))
    if known is None:
        return Card(memory_bytes=None)
    match = _FIGURE.search(gpu_info)
    if match is None:
        return Card(memory_bytes=known.memory_bytes)
    figure_bytes = int(match[1]) * MIB / (count if cloud in _SUM_OVER_CARDS else 1)
    if _near(figure_bytes, known.memory_bytes) or _near(figure_bytes, known.memory_bytes * min(1.0, count)):
        return Card(memory_bytes=known.memory_bytes)
    if cloud not in _SUM_OVER_CARDS:
        return Card(memory_bytes=known.memory_bytes, differs=True)
    return _among_namesakes(name, known.memory_bytes, figure_bytes)


def _among_namesakes(name: str, memory_bytes: int, figure_bytes: float) -> Card:
    """The card of the same family with that memory; a card with more than any (a modified one) counts as the named."""
    for other in accelerator_names():
        if other.startswith(f"{name}-"):
            candidate = accelerator(other)
            if candidate is not None and _near(figure_bytes, candidate.memory_bytes):
                return Card(memory_bytes=candidate.memory_bytes, flags=("card_by_memory",), differs=True)
    if figure_bytes > memory_bytes:
        return Card(memory_bytes=memory_bytes, differs=True)
    return Card(memory_bytes=None, flags=("card_not_known",), differs=True)


def _near(figure_bytes: float, memory_bytes: float) -> bool:
    return abs(figure_bytes - memory_bytes) <= memory_bytes * _TOLERANCE
