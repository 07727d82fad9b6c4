"""Rows of the table of prices: one machine in one region, on demand beside spot.

A market holds tens of thousands of quotes, a table shows tens: machines and quotes are paired and put in order first,
and only what is shown becomes a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.planner.moved import age_text
from manager.prices.market import UNKNOWN_USD, Quote, Rental
from manager.service.live_spot import LiveSpot
from manager.units import SECONDS_PER_HOUR

LIVE_FLAG = "live_spot_price"
"""Flag of a row whose spot price is AWS's answer, not the catalog's."""
UNSAID = frozenset({"unknown_price", "no_spot_price"})
"""Flags that the cell of the price itself says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One machine in one region."""

    cloud: str
    region: str | None
    instance_type: str | None
    accelerator: str | None
    accelerator_count: float
    accelerator_memory_bytes: int | None
    """Per accelerator; of a machine without one, what a job may use of the host's. None is unknown."""
    on_demand_usd_per_hour: Decimal | None
    """None is unknown."""
    spot_usd_per_hour: Decimal | None
    """The cheapest zone's; None: none, or unknown."""
    usd_per_accelerator_hour: Decimal | None
    """The cheaper of both, or the spot price where that is asked for, for one accelerator; None without one, or where
    no price is known."""
    age_s: float | None
    """Of the older of both prices; None is unknown."""
    source: str
    flags: tuple[str, ...]
    """Names of rules that noticed something."""
    on_demand_key: str | None
    """`Offer.key` of the on-demand price; None: there is no such offer."""
    spot_key: str | None
    """The same of the catalog's spot price."""

    @property
    def spot_share(self) -> float | None:
        """Spot as a part of the on-demand price: 0.4 is 60 % off."""
        if not self.on_demand_usd_per_hour or self.spot_usd_per_hour is None:
            return None
        return float(self.spot_usd_per_hour / self.on_demand_usd_per_hour)


@dataclass(frozen=True, slots=True)
class Pair:
    """One machine in one region before it is a row; at least one of both markets offers it."""

    on_demand: Rental | None
    on_demand_quote: Quote | None
    """The cheapest of the region; None: not offered on demand there."""
    spot: Rental | None
    spot_quote: Quote | None
    """The same on spot."""
    live: LiveSpot | None = None
    """What AWS says of the spot price now; None: not asked, or unknown."""

    @property
    def rental(self) -> Rental:
        """The machine."""
        rental = self.on_demand or self.spot
        assert rental is not None
        return rental

    @property
    def region(self) -> str | None:
        """None where the source names none."""
        quote = self.on_demand_quote or self.spot_quote
        return None if quote is None else quote.region

    @property
    def spot_usd(self) -> float:
        """Dollars per hour on spot to order by; infinite when unknown."""
        if self.live is not None:
            return float(self.live.price.usd_per_hour)
        return UNKNOWN_USD if self.spot_quote is None else self.spot_quote.usd

    @property
    def usd(self) -> float:
        """Dollars per hour at the cheaper of both, to order by; infinite when unknown."""
        return min(UNKNOWN_USD if self.on_demand_quote is None else self.on_demand_quote.usd, self.spot_usd)


def _place(pair: Pair) -> tuple[str, str, str]:
    return (pair.rental.cloud, pair.region or "", pair.rental.instance_type or "")


def _by_price(pair: Pair, usd: float) -> tuple[object, ...]:
    return (usd, *_place(pair))


def _by_accelerator_price(pair: Pair, usd: float) -> tuple[object, ...]:
    rental = pair.rental
    has_none = rental.accelerator is None or not rental.accelerator_count
    return (has_none, usd if has_none else usd / rental.accelerator_count, usd, *_place(pair))


def _by_memory(pair: Pair, usd: float) -> tuple[object, ...]:
    rental = pair.rental
    memory = (rental.accelerator_memory_bytes or 0) * rental.accelerator_count
    return (-memory, usd, *_place(pair))


def _by_spot(pair: Pair, usd: float) -> tuple[object, ...]:
    return (pair.spot_usd, usd, *_place(pair))


ORDERS = {"gpu-price": _by_accelerator_price, "price": _by_price, "memory": _by_memory, "spot": _by_spot}
"""Name of an order -> its key, of a pair and the dollars per hour that count."""


def price_row(pair: Pair, *, by_spot: bool) -> PriceRow:
    """The row of a pair; `by_spot`: one accelerator's price is that on spot."""
    rental = pair.rental
    halves = [
        (half, quote)
        for half, quote in ((pair.on_demand, pair.on_demand_quote), (pair.spot, pair.spot_quote))
        if half and quote
    ]
    ages = [half.price_age_s for half, _ in halves]
    flags = [flag for half, quote in halves for flag in (*half.flags, *quote.flags)]
    if pair.live is not None:
        flags.append(LIVE_FLAG)
    spot_usd = pair.live.price.usd_per_hour if pair.live else (pair.spot_quote.price if pair.spot_quote else None)
    on_demand_usd = None if pair.on_demand_quote is None else pair.on_demand_quote.price
    return PriceRow(
        cloud=rental.cloud,
        region=pair.region,
        instance_type=rental.instance_type,
        accelerator=rental.accelerator,
        accelerator_count=rental.accelerator_count,
        accelerator_memory_bytes=rental.accelerator_memory_bytes,
        on_demand_usd_per_hour=on_demand_usd,
        spot_usd_per_hour=spot_usd,
        usd_per_accelerator_hour=_each(rental, (spot_usd,) if by_spot else (on_demand_usd, spot_usd)),
        age_s=None if None in ages else max((age for age in ages if age is not None), default=None),
        source=rental.price_source,
        flags=tuple(dict.fromkeys(flags)),
        on_demand_key=_key(pair.on_demand, pair.on_demand_quote),
        spot_key=_key(pair.spot, pair.spot_quote),
    )


def age_words(age_s: float | None) -> str:
    """The age of a price in a table; `?` where it is not known."""
    if age_s is None:
        return "?"
    return "< 1 h" if age_s < SECONDS_PER_HOUR else age_text(age_s)


def remarks(row: PriceRow) -> str:
    """What rules noticed of a row, but for what its prices say themselves."""
    return ", ".join(flag.replace("_", " ") for flag in row.flags if flag not in UNSAID)


def _key(rental: Rental | None, quote: Quote | None) -> str | None:
    return None if rental is None or quote is None else rental.offer(quote).key


def _each(rental: Rental, prices: tuple[Decimal | None, ...]) -> Decimal | None:
    """The lowest known price for one accelerator."""
    known = [usd for usd in prices if usd is not None]
    if not known or rental.accelerator is None or not rental.accelerator_count:
        return None
    return min(known) / Decimal(str(rental.accelerator_count))
