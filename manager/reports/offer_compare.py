"""Offers side by side: one row for each property and each cost line, one column for each offer.

A row whose offers are not all the same is told as such, so that no front end needs colour for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manager.planner.plan import Estimate
from manager.reports.offer_words import line_dollars, price
from manager.reports.why import verdict_words
from manager.units import format_bytes, interval_hours, interval_usd

DIFFERS = "≠"
"""Before a row in which the offers differ."""
_UNKNOWN = "unknown"
_NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRow:
    """One property of all offers."""

    group: str
    """`answer`, `machine`, `training` or `bill`."""
    name: str
    cells: tuple[str, ...]
    """A text for each offer."""

    @property
    def differs(self) -> bool:
        """Whether the offers are not all the same in it."""
        return len(set(self.cells)) > 1

    @property
    def sign(self) -> str:
        """`≠` where they differ, a space where not."""
        return DIFFERS if self.differs else " "


def compare_offers(estimates: Sequence[Estimate]) -> tuple[ComparedRow, ...]:
    """All properties of these offers; a cost line that none of them has is left out."""
    rows = [
        ComparedRow(group=group, name=name, cells=tuple(told(estimate) for estimate in estimates))
        for group, name, told in _PROPERTIES
    ]
    names = dict.fromkeys(line.name for one in estimates for line in one.lines if line.quantity.high > 0)
    rows += [
        ComparedRow(group="bill", name=name, cells=tuple(_dollars(estimate, name) for estimate in estimates))
        for name in names
    ]
    return tuple(rows)


def _dollars(estimate: Estimate, name: str) -> str:
    line = next((line for line in estimate.lines if line.name == name), None)
    return _NONE if line is None else line_dollars(line)


def _memory(estimate: Estimate) -> str:
    device_bytes = estimate.offer.accelerator_memory_bytes or estimate.offer.host_memory_bytes
    if estimate.memory is None or device_bytes is None:
        return _UNKNOWN
    needed = estimate.memory.needed_bytes
    return f"{format_bytes(needed)} of {format_bytes(device_bytes)}, {needed / device_bytes:.0%}"


def _preemptions(estimate: Estimate) -> str:
    number = estimate.preemptions
    return _NONE if number is None else f"{number.expected:.2g} ({number.low:.2g} to {number.high:.2g})"


def _checkpoints(estimate: Estimate) -> str:
    every = estimate.checkpoint_every_steps
    return "as the run file says" if every is None else f"{every:,} steps"


def _whether(flag: bool | None) -> str:
    return _UNKNOWN if flag is None else "yes" if flag else "no"


def _count(number: float | None) -> str:
    return _UNKNOWN if number is None else f"{number:,g}"


_PROPERTIES: tuple[tuple[str, str, Callable[[Estimate], str]], ...] = (
    ("answer", "verdict", verdict_words),
    ("answer", "dollars to the finished job", lambda one: interval_usd(one.cost_usd)),
    ("answer", "time, launch to machine gone", lambda one: interval_hours(one.hours)),
    ("answer", "of which training", lambda one: interval_hours(one.training_hours)),
    ("answer", "price", lambda one: price(one.offer)),
    ("machine", "cloud", lambda one: one.offer.cloud),
    ("machine", "region", lambda one: one.offer.region or _NONE),
    ("machine", "machine", lambda one: one.offer.instance_type or _NONE),
    ("machine", "devices", lambda one: one.offer.devices),
    ("machine", "market", lambda one: "spot" if one.offer.use_spot else "on demand"),
    ("machine", "vCPUs", lambda one: _count(one.offer.vcpus)),
    ("machine", "host's memory", lambda one: format_bytes(one.offer.host_memory_bytes)),
    ("machine", "price from", lambda one: one.offer.price_source),
    ("training", "memory of a device", _memory),
    ("training", "micro-batch", lambda one: _NONE if one.micro_batch is None else str(one.micro_batch)),
    ("training", "passes a step", lambda one: _NONE if one.accumulation is None else str(one.accumulation)),
    ("training", "precision", lambda one: one.precision or _UNKNOWN),
    ("training", "gradient checkpointing", lambda one: _whether(one.gradient_checkpointing)),
    ("training", "sharding", lambda one: one.sharding),
    ("training", "checkpoint every", _checkpoints),
    ("training", "preemptions", _preemptions),
    ("training", "size of the disk", lambda one: _NONE if one.disk_gib is None else f"{one.disk_gib} GiB"),
)
