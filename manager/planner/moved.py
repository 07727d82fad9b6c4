"""What has moved since a plan was made: its offers against those of today, and the plan at today's prices.

Pure: today's offers and the time arrive as arguments. Hours and the configuration stay those of the plan; only what is
paid for them is computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from manager.planner.plan import CostLine, Estimate, Plan
from manager.planner.storage import NOT_THE_MACHINE
from manager.prices.offer import Offer
from manager.units import SECONDS_PER_HOUR, MoneyInterval, format_usd

_HOURS_PER_DAY = 24
_PERCENT = 100


class Move(StrEnum):
    """What happened to an offer."""

    STAYED = "stayed"
    DEARER = "dearer"
    CHEAPER = "cheaper"
    GONE = "gone"
    """No price source has it any more."""
    PRICE_UNKNOWN = "price_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One offer of a plan, then and now."""

    key: str
    is_choice: bool
    move: Move
    old_usd_per_hour: Decimal | None
    new_usd_per_hour: Decimal | None
    """None: gone, or unknown."""
    now: Offer | None
    """The offer of today; None when it is gone."""

    @property
    def percent(self) -> Decimal | None:
        """By how much the price moved; None where it cannot be said."""
        old, new = self.old_usd_per_hour, self.new_usd_per_hour
        return None if not old or new is None else (new - old) / old * _PERCENT

    def text(self) -> str:
        """`aws/... is 12.5 % dearer: $0.80/h then, $0.90/h now`."""
        if self.move is Move.GONE:
            return f"{self.key} is gone: no price source has it any more"
        if self.move is Move.PRICE_UNKNOWN:
            return f"{self.key} has no known price any more, it was {format_usd(self.old_usd_per_hour)}/h"
        if self.move is Move.STAYED:
            return f"{self.key} costs what it did: {format_usd(self.new_usd_per_hour)}/h"
        by = self.percent
        amount = "" if by is None else f"{abs(by):.1f} % "
        return (
            f"{self.key} is {amount}{self.move}: {format_usd(self.old_usd_per_hour)}/h then, "
            f"{format_usd(self.new_usd_per_hour)}/h now"
        )


def movements(estimates: Sequence[Estimate], today: Iterable[Offer]) -> tuple[Movement, ...]:
    """What became of a plan's offers, in their order; the first is the choice.

    Args:
        estimates: the choice, then its fall-backs.
        today: offers of one node each; those of several nodes cost several times as much.
    """
    by_key: dict[str, list[Offer]] = {_of_one_node(estimate.offer): [] for estimate in estimates}
    for offer in today:
        same = by_key.get(offer.key)
        if same is not None:
            same.append(offer)
    return tuple(
        _movement(estimate.offer, by_key[_of_one_node(estimate.offer)], is_choice=position == 0)
        for position, estimate in enumerate(estimates)
    )


def at_price(estimate: Estimate, offer: Offer) -> Estimate:
    """The estimate at the price of the same offer today; what is billed besides the machine keeps its price.

    Raises:
        ValueError: the price is unknown.
    """
    price = offer.price_usd_per_hour
    if price is None:
        raise ValueError(f"{offer.key} has no known price")
    lines = tuple(line if line.name in NOT_THE_MACHINE else _line_at(line, price) for line in estimate.lines)
    return replace(estimate, offer=offer, lines=lines, cost_usd=MoneyInterval.sum(line.total_usd for line in lines))


def with_prices(plan: Plan, moved: Sequence[Movement]) -> Plan:
    """The plan with the offers that are still there, at their prices of today and in its own order.

    Args:
        plan: with a choice.
        moved: of its choice first and then of any others; offers not among them are left out.
    """
    kept = []
    estimates = {estimate.offer.key: estimate for estimate in reversed(plan.offers)}
    for each in moved:
        if each.now is not None and each.new_usd_per_hour is not None:
            kept.append(at_price(estimates[each.key], each.now))
    return replace(plan, offers=tuple(kept), chosen=0 if kept else None)


def age_text(seconds: float) -> str:
    """How long ago: `3 h`, `12 days`."""
    hours = max(0.0, seconds) / SECONDS_PER_HOUR
    if hours < 1:
        return "less than an hour"
    if hours < 2 * _HOURS_PER_DAY:
        return f"{hours:.0f} h"
    return f"{hours / _HOURS_PER_DAY:.0f} days"


def _of_one_node(offer: Offer) -> str:
    return offer.key if offer.num_nodes == 1 else replace(offer, num_nodes=1).key


def _movement(offer: Offer, today: Sequence[Offer], *, is_choice: bool) -> Movement:
    now = _counterpart(offer, today)
    old, new = offer.price_usd_per_hour, None if now is None else now.price_usd_per_hour
    if now is None:
        move = Move.GONE
    elif new is None:
        move = Move.STAYED if old is None else Move.PRICE_UNKNOWN
    elif old is None or new == old:
        move = Move.STAYED
    else:
        move = Move.DEARER if new > old else Move.CHEAPER
    return Movement(key=offer.key, is_choice=is_choice, move=move, old_usd_per_hour=old, new_usd_per_hour=new, now=now)


def _counterpart(offer: Offer, today: Sequence[Offer]) -> Offer | None:
    """The offer of the same zones, else the cheapest whose price is known: some have several prices in a region."""
    known = [now for now in today if now.price_usd_per_hour is not None]
    same = next((now for now in known if now.zones == offer.zones), None)
    found = same or min(known, key=lambda now: now.price_usd_per_hour or 0, default=next(iter(today), None))
    if found is None or offer.num_nodes == 1:
        return found
    price = found.price_usd_per_hour
    return replace(
        found, num_nodes=offer.num_nodes, price_usd_per_hour=None if price is None else price * offer.num_nodes
    )


def _line_at(line: CostLine, price_usd_per_hour: Decimal) -> CostLine:
    total = MoneyInterval.of(line.quantity, price_usd_per_hour)
    return replace(line, unit_price_usd=price_usd_per_hour, total_usd=total)
