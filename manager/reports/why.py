"""One offer in full, in words: its verdict, where spot stops paying, the bill line by line, memory, what they rest on.

What `tunefare plan --why` prints and the terminal application shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.planner.plan import Estimate
from manager.planner.spot_break_even import SpotBreakEven
from manager.reports.break_even_words import BreakEvenWords, break_even_words
from manager.reports.offer_words import (
    host_text,
    how_trained,
    line_dollars,
    line_quantity,
    price_basis,
)
from manager.units import format_bytes, format_hours, format_usd, interval_hours, interval_usd
from manager.workload.memory_answer import MemoryAnswer

BILL_COLUMNS = ("cost line", "expected", "quantity", "unit price", "rests on")
MEMORY_COLUMNS = ("line", "at the peak", "of the card")
_MEMORY_NAMES = {"optimizer_state": "optimizer state", "weight_copies": "weight copies"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """One line of the memory answer."""

    name: str
    size: str
    share: str
    """Of the device's memory."""
    is_sum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The lines of a bill that cost or last anything, and what they rest on."""

    rows: tuple[tuple[str, ...], ...]
    """A text for each of BILL_COLUMNS."""
    host: str | None
    """What the host's memory has to hold."""
    assumptions: tuple[str, ...]
    """`name: text`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer; empty texts and None where there is nothing to say."""

    name: str
    key: str
    verdict: str
    is_rejected: bool
    """Whether something rules it out; not what can be planned and not launched yet."""
    price: str
    cost: str | None
    """`$1.20 ($0.90 to $1.70)`; None: not estimated."""
    time: str | None
    how: str
    break_even: BreakEvenWords | None
    bill: Bill | None
    memory: tuple[MemoryRow, ...]


def why(estimate: Estimate, *, break_even: SpotBreakEven | None = None, choice: Estimate | None = None) -> Why:
    """One offer in full.

    Args:
        estimate: of the offer.
        break_even: of a spot offer.
        choice: the offer that is chosen, for comparison.
    """
    offer, hours = estimate.offer, estimate.hours
    device_bytes = offer.accelerator_memory_bytes or offer.host_memory_bytes
    memory: tuple[MemoryRow, ...] = ()
    if estimate.memory is not None and device_bytes is not None:
        memory = memory_rows(estimate.memory, device_bytes)
    return Why(
        name=offer.title,
        key=offer.key,
        verdict=verdict_words(estimate, choice),
        is_rejected=estimate.on_paper is None and estimate.reason is not None,
        price=price_basis(offer),
        cost=None if hours is None else interval_usd(estimate.cost_usd),
        time=None if hours is None else interval_hours(hours),
        how=how_trained(estimate),
        break_even=None if break_even is None else break_even_words(estimate, break_even),
        bill=bill_words(estimate) if estimate.lines else None,
        memory=memory,
    )


def verdict_words(estimate: Estimate, choice: Estimate | None = None) -> str:
    """Whether it can be chosen, and how it stands beside the choice; else why not."""
    if estimate.on_paper is not None:
        return f"on paper only: {estimate.on_paper}"
    if estimate.reason is not None:
        return f"rejected: {estimate.reason}"
    return f"can be chosen{_beside(estimate, choice)}"


def bill_words(estimate: Estimate) -> Bill:
    """Cost lines, and what they rest on."""
    shown = [line for line in estimate.lines if line.quantity.high > 0]
    silent = {line.assumption for line in estimate.lines} - {line.assumption for line in shown}
    return Bill(
        rows=tuple(
            (
                line.name,
                line_dollars(line),
                line_quantity(line),
                f"{format_usd(line.unit_price_usd)}/{line.unit}",
                line.assumption or "",
            )
            for line in shown
        ),
        host=None if estimate.host_bytes is None else host_text(estimate.host_bytes),
        assumptions=tuple(f"{one.name}: {one.text}" for one in estimate.assumptions if one.name not in silent),
    )


def memory_rows(answer: MemoryAnswer, memory_bytes: float) -> tuple[MemoryRow, ...]:
    """The lines that are not empty, their total, and what of it is needed."""
    lines = [(_MEMORY_NAMES.get(name, name.replace("_", " ")), size) for name, size in answer.lines().items() if size]
    sums = [("total", answer.total_bytes)]
    if answer.reclaimable_bytes:
        sums += [("given back when full", -answer.reclaimable_bytes), ("needed", answer.needed_bytes)]
    return tuple(
        MemoryRow(name=name, size=format_bytes(size), share=f"{size / memory_bytes:.1%}", is_sum=place >= len(lines))
        for place, (name, size) in enumerate((*lines, *sums))
    )


def _beside(estimate: Estimate, choice: Estimate | None) -> str:
    """How much dearer and faster it is than the choice."""
    if choice is None or choice.cost_usd is None or estimate.cost_usd is None or choice.hours is None:
        return ""
    if estimate.hours is None:
        return ""
    if choice.offer.key == estimate.offer.key:
        return ", and is the choice"
    more = estimate.cost_usd.expected - choice.cost_usd.expected
    hours = estimate.hours.expected - choice.hours.expected
    time = f"{format_hours(abs(hours))} {'slower' if hours > 0 else 'faster'}"
    return f": {format_usd(more)} more than the choice, {choice.offer.key}, and {time}"
