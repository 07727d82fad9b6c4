"""Market: everything that can be rented, as machines with their prices.

One catalog names the same machine in tens of regions and zones. A `Rental` holds the machine once and a `Quote` per
price, so that a question about a machine (does the job fit, how long does it take) is asked once, and the prices are
only ordered. It owns the grouping, not the rules of prices (`price_rules`) and not what the user wants (the planner).
`Offer` stays the value that estimates, launches and the ledger hold; `Rental.offer` makes it from one quote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from manager.prices.offer import Offer
from manager.prices.price_rules import MACHINE_RULES, RuleCount
from manager.spec.model import CPU

UNKNOWN_USD = float("inf")
"""`Quote.usd` where the price is unknown: such a quote is never the cheapest."""


class Quote(NamedTuple):
    """One price of a rental in one region; a tuple, because a market holds tens of thousands."""

    usd: float
    """Dollars per hour of one node, to order by; infinite where the price is unknown."""
    price: Decimal | None
    """The same in full, for money; None is unknown."""
    region: str | None
    """None where the source names none."""
    zones: tuple[str, ...]
    """Zones of the region with exactly this price; empty where the source names none."""
    flags: tuple[str, ...]
    """Rules that noticed something in this price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """One machine of one cloud, on demand or spot, with all its prices; fields as in `Offer`."""

    cloud: str
    instance_type: str | None
    accelerator: str | None
    accelerator_count: float
    accelerator_memory_bytes: int | None
    """Per accelerator, from our table; None is unknown."""
    vcpus: float | None
    host_memory_bytes: int | None
    use_spot: bool
    price_source: str
    price_age_s: float | None
    """Seconds between the prices' date and the time of reading; None is unknown."""
    flags: tuple[str, ...] = ()
    """Rules that noticed something in the machine, apart from its prices."""
    quotes: tuple[Quote, ...]
    """By dollars, then region and zones; unknown prices last."""

    def has_accelerator_of(self, wishes: Iterable[tuple[str, float | None]]) -> bool:
        """Whether it is one of the machines asked for, as `accelerator_wish` reads them; case does not count."""
        name = (self.accelerator or CPU).casefold()
        return any(name == asked.casefold() and count in (None, self.accelerator_count) for asked, count in wishes)

    def offer(self, quote: Quote, num_nodes: int = 1) -> Offer:
        """The offer of this machine at one of its quotes, for several equal nodes together."""
        return Offer(
            cloud=self.cloud,
            region=quote.region,
            zones=quote.zones,
            instance_type=self.instance_type,
            accelerator=self.accelerator,
            accelerator_count=self.accelerator_count,
            accelerator_memory_bytes=self.accelerator_memory_bytes,
            num_nodes=num_nodes,
            vcpus=self.vcpus,
            host_memory_bytes=self.host_memory_bytes,
            use_spot=self.use_spot,
            price_usd_per_hour=None if quote.price is None else quote.price * num_nodes,
            price_source=self.price_source,
            price_age_s=self.price_age_s,
            flags=self.flags + quote.flags,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """All rentals that a plan may choose from, and what the user should know of their prices."""

    rentals: tuple[Rental, ...]
    """In the order of the sources."""
    notes: tuple[str, ...] = ()
    """For the user: where prices come from, how old they are, what was left out."""
    audit: tuple[RuleCount, ...] = ()
    """By cloud, then by name of the rule."""

    def offers(self) -> Iterator[Offer]:
        """Every quote as an offer of one node, rental by rental, cheapest first within each."""
        for rental in self.rentals:
            for quote in rental.quotes:
                yield rental.offer(quote)

    @staticmethod
    def of_offers(offers: Iterable[Offer], notes: tuple[str, ...] = ()) -> Market:
        """The market that these offers make, in the order of the first offer of each rental.

        Raises:
            ValueError: an offer of several nodes; quotes are prices of one.
        """
        quotes: dict[Rental, list[Quote]] = {}
        for offer in offers:
            if offer.num_nodes != 1:
                raise ValueError(f"{offer.key}: a market holds prices of one node")
            machine_flags, price_flags = _split_flags(offer.flags)
            quotes.setdefault(_rental(offer, machine_flags), []).append(_quote(offer, price_flags))
        return Market(rentals=tuple(with_quotes(rental, found) for rental, found in quotes.items()), notes=notes)


def with_quotes(rental: Rental, quotes: Iterable[Quote]) -> Rental:
    """The rental with these quotes, in the order that a rental promises."""
    return Rental(
        cloud=rental.cloud,
        instance_type=rental.instance_type,
        accelerator=rental.accelerator,
        accelerator_count=rental.accelerator_count,
        accelerator_memory_bytes=rental.accelerator_memory_bytes,
        vcpus=rental.vcpus,
        host_memory_bytes=rental.host_memory_bytes,
        use_spot=rental.use_spot,
        price_source=rental.price_source,
        price_age_s=rental.price_age_s,
        flags=rental.flags,
        quotes=tuple(sorted(quotes, key=_order)),
    )


def _order(quote: Quote) -> tuple[float, str, tuple[str, ...]]:
    return (quote.usd, quote.region or "", quote.zones)


def _split_flags(flags: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is true of the machine and what of its price; machines come first in an offer's flags."""
    split = next((at for at, flag in enumerate(flags) if flag not in MACHINE_RULES), len(flags))
    return flags[:split], flags[split:]


def _rental(offer: Offer, flags: tuple[str, ...]) -> Rental:
    return Rental(
        cloud=offer.cloud,
        instance_type=offer.instance_type,
        accelerator=offer.accelerator,
        accelerator_count=offer.accelerator_count,
        accelerator_memory_bytes=offer.accelerator_memory_bytes,
        vcpus=offer.vcpus,
        host_memory_bytes=offer.host_memory_bytes,
        use_spot=offer.use_spot,
        price_source=offer.price_source,
        price_age_s=offer.price_age_s,
        flags=flags,
        quotes=(),
    )


def _quote(offer: Offer, flags: tuple[str, ...]) -> Quote:
    price = offer.price_usd_per_hour
    return Quote(UNKNOWN_USD if price is None else float(price), price, offer.region, offer.zones, flags)
