"""The bill of a run that had several machines, one after the other: each with its own price and times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.launch.engine import Handle, MachineTime
from manager.launch.managed_record import DEAREST
from manager.prices.offer import Offer

MACHINE = "machine"
NO_MACHINE = "no machine"
"""Between two machines: time in which nothing is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of the bill, from where the one before it ends."""

    to_s: float
    """Unix time."""
    price_usd_per_hour: Decimal | None
    """None: unknown; 0 where there is no machine."""
    what: str


def pieces(machines: Sequence[MachineTime], *, from_s: float, to_s: float) -> list[Piece]:
    """The stretches between two times, without a gap.

    Args:
        machines: oldest first; of two at once, the later counts from where the earlier ends.
        from_s: where the bill stands, Unix time.
        to_s: up to where it shall reach.
    """
    found: list[Piece] = []
    at_s = from_s
    for one in machines:
        begins_s, ends_s = max(one.from_s, at_s), min(to_s if one.to_s is None else one.to_s, to_s)
        if ends_s <= begins_s:
            continue
        if begins_s > at_s:
            found.append(_nothing(begins_s))
        found.append(Piece(to_s=ends_s, price_usd_per_hour=one.price_usd_per_hour, what=MACHINE))
        at_s = ends_s
    if to_s > at_s:
        found.append(_nothing(to_s))
    return found


def limit_price(handle: Handle | None, offer: Offer) -> Decimal | None:
    """What a limit in dollars counts with: the dearest known price that the run may come to pay; None: none is."""
    dearest = None if handle is None else handle.details.get(DEAREST)
    known = [] if dearest is None else [Decimal(dearest)]
    if offer.price_usd_per_hour is not None:
        known.append(offer.price_usd_per_hour)
    return max(known, default=None)


def _nothing(to_s: float) -> Piece:
    return Piece(to_s=to_s, price_usd_per_hour=Decimal(0), what=NO_MACHINE)
