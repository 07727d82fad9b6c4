"""What is still rented, in words, the same wherever it is told."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from manager.launch.inventory import RentedKind
from manager.service.leftovers_report import Leftover, Leftovers, Standing, known_usd_per_month
from manager.service.state_words import state_words
from manager.units import format_usd


def price_words(usd_per_month: Decimal | None) -> str:
    """`$8.00/month`, or `unknown`."""
    return "unknown" if usd_per_month is None else f"{format_usd(usd_per_month)}/month"


def total_words(items: Sequence[Leftover]) -> str:
    """`3 things, $12.30/month and 1 of unknown price`."""
    total, unknown = known_usd_per_month(items)
    things = f"{len(items)} thing{'' if len(items) == 1 else 's'}"
    if unknown == len(items):
        return f"{things} of unknown price"
    return f"{things}, {price_words(total)}" + (f" and {unknown} of unknown price" if unknown else "")


def standing_words(item: Leftover) -> str:
    """`its run is succeeded`, as a cell of a table."""
    if item.rented.kind is RentedKind.DATA:
        return "data of any run" if item.standing is Standing.KEPT else "data; a run is on"
    match item.standing:
        case Standing.LIVING:
            return f"run is {state_words(item.run_state)}"
        case Standing.ORPHAN:
            return f"OVER: run {state_words(item.run_state)}"
        case Standing.UNKNOWN_RUN:
            return "run not in this ledger"
        case Standing.KEPT:
            return "of any run"
        case Standing.FOREIGN:
            return f"of {item.rented.user}" if item.rented.user else "of another user"


def partial_words(found: Leftovers) -> list[str]:
    """What the answer does not hold, a sentence each; places with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for place, reason in found.silent.items():
        reasons.setdefault(reason, []).append(place)
    told = [f"no answer from {', '.join(places)}: {reason}" for reason, places in reasons.items()]
    return told + [f"{place} was not asked: {why}" for place, why in found.not_asked.items()]
