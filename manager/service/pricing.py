"""Prices of machines as a table: what is offered where, on demand and spot, filtered and in an order.

A row is one machine in one region. It owns which prices are shown and in which order; what a price is worth for a job
is the planner's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from manager.errors import UsageError
from manager.prices.aws_live import AwsAsker
from manager.prices.market import UNKNOWN_USD, Market, Quote, Rental
from manager.prices.price_rules import RuleCount
from manager.service.context import Context
from manager.service.known_names import check_places
from manager.service.live_spot import LiveSpot, live_spot
from manager.service.market import read_market
from manager.spec.model import CPU, accelerator_wish

SORTS = ("gpu-price", "price", "memory", "spot")
LIVE_FLAG = "live_spot_price"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceQuery:
    """Which rows are wanted, and in which order."""

    clouds: tuple[str, ...] = ()
    """Empty: all; the same for the next two."""
    regions: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    """`L4`, `H100:8`, or `cpu` for machines without one."""
    spot: bool | None = None
    """True: rows with a spot price, by that price; False: on demand alone; None: both."""
    max_usd_per_hour: Decimal | None = None
    """Dollars per hour of the machine, at the cheaper of the prices shown."""
    sort: str = SORTS[0]
    """One of SORTS."""
    live: bool = False
    """Ask AWS for the spot prices of this minute."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """The answer."""

    rows: tuple[PriceRow, ...]
    rows_total: int
    """Rows that were wanted; `rows` may be the first of them."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One machine in one region before it is a row: a market holds tens of thousands."""

    on_demand: Rental | None
    on_demand_quote: Quote | None
    spot: Rental | None
    spot_quote: Quote | None
    live: LiveSpot | None = None

    @property
    def rental(self) -> Rental:
        rental = self.on_demand or self.spot
        assert rental is not None
        return rental

    @property
    def region(self) -> str | None:
        quote = self.on_demand_quote or self.spot_quote
        return None if quote is None else quote.region

    @property
    def spot_usd(self) -> float:
        if self.live is not None:
            return float(self.live.price.usd_per_hour)
        return UNKNOWN_USD if self.spot_quote is None else self.spot_quote.usd

    @property
    def usd(self) -> float:
        return min(UNKNOWN_USD if self.on_demand_quote is None else self.on_demand_quote.usd, self.spot_usd)


def price_table(
    context: Context,
    query: PriceQuery,
    *,
    catalogs: Path | None = None,
    top: int | None = None,
    asker: AwsAsker | None = None,
) -> PriceTable:
    """The wanted prices in the wanted order.

    Args:
        context: surroundings.
        query: which rows.
        catalogs: folder of price catalogs; None: the setting, else SkyPilot's own, else the shipped list prices.
        top: so many rows at most; None: all.
        asker: asked for live prices instead of boto3's default credentials.

    Raises:
        PriceError: the catalogs cannot be read.
        UsageError: a name that no price has, an order that there is not.
    """
    if query.sort not in SORTS:
        raise UsageError(f"there is no order `{query.sort}`", hint=f"choose one of {', '.join(SORTS)}")
    most_usd = query.max_usd_per_hour
    if most_usd is not None and (not most_usd.is_finite() or most_usd <= 0):
        raise UsageError(f"{most_usd} dollars per hour rent nothing", hint="give dollars above 0")
    wishes = [_wish(text) for text in query.accelerators]
    market = read_market(context, catalogs)
    check_places(market.rentals, clouds=query.clouds, regions=query.regions, accelerators=query.accelerators)
    pairs = list(_pairs(market, query, wishes))
    notes = list(market.notes)
    if query.live:
        pairs, said = _with_live(context, pairs, asker)
        notes += said
    wanted = [pair for pair in pairs if _is_wanted(pair, query)]
    order = _ORDERS[query.sort]
    wanted.sort(key=lambda pair: order(pair, pair.spot_usd if query.spot else pair.usd))
    rows = tuple(_row(pair, by_spot=bool(query.spot)) for pair in wanted[:top])
    return PriceTable(rows=rows, rows_total=len(wanted), notes=tuple(notes))


def price_audit(
    context: Context, clouds: tuple[str, ...] = (), *, catalogs: Path | None = None
) -> tuple[tuple[RuleCount, ...], tuple[str, ...]]:
    """What the rules of prices found in the catalogs of these clouds, or of all, and the notes.

    Raises:
        PriceError: the catalogs cannot be read.
        UsageError: a cloud that no price has.
    """
    market = read_market(context, catalogs)
    check_places(market.rentals, clouds=clouds)
    wanted = {cloud.casefold() for cloud in clouds}
    return tuple(one for one in market.audit if not wanted or one.cloud in wanted), market.notes


def _wish(text: str) -> tuple[str, float | None]:
    try:
        name, count = accelerator_wish(text)
    except ValueError as error:
        raise UsageError(str(error), hint="such as --gpus L4 or --gpus H100:8") from error
    return name.casefold(), count


def _pairs(market: Market, query: PriceQuery, wishes: list[tuple[str, float | None]]) -> Iterator[_Pair]:
    """Every wanted machine in every wanted region, at its cheapest quotes."""
    clouds = {cloud.casefold() for cloud in query.clouds}
    regions = {region.casefold() for region in query.regions}
    machines: dict[tuple[object, ...], list[Rental | None]] = {}
    for rental in market.rentals:
        if (clouds and rental.cloud not in clouds) or (wishes and not _is_wished(rental, wishes)):
            continue
        if query.spot is False and rental.use_spot:
            continue
        key = (
            rental.cloud,
            rental.instance_type,
            rental.accelerator,
            rental.accelerator_count,
            rental.accelerator_memory_bytes,
            rental.vcpus,
            rental.host_memory_bytes,
            rental.price_source,
            rental.flags,
        )
        machines.setdefault(key, [None, None])[rental.use_spot] = rental
    for on_demand, spot in machines.values():
        here, there = _cheapest(on_demand, regions), _cheapest(spot, regions)
        for region in {**here, **there}:
            yield _Pair(on_demand, here.get(region), spot, there.get(region))


def _is_wished(rental: Rental, wishes: list[tuple[str, float | None]]) -> bool:
    name = (rental.accelerator or CPU).casefold()
    return any(name == wished and count in (None, rental.accelerator_count) for wished, count in wishes)


def _cheapest(rental: Rental | None, regions: set[str]) -> dict[str | None, Quote]:
    """Region -> its cheapest quote; quotes come by dollars."""
    found: dict[str | None, Quote] = {}
    for quote in () if rental is None else rental.quotes:
        if quote.region not in found and (not regions or (quote.region or "").casefold() in regions):
            found[quote.region] = quote
    return found


def _with_live(context: Context, pairs: list[_Pair], asker: AwsAsker | None) -> tuple[list[_Pair], tuple[str, ...]]:
    """The pairs with AWS's spot prices of now; of machines with an accelerator, where there are any."""
    ours = [pair for pair in pairs if pair.rental.cloud == "aws" and pair.rental.instance_type and pair.region]
    ours = [pair for pair in ours if pair.rental.accelerator is not None] or ours
    reading = live_spot(
        context, {pair.region or "" for pair in ours}, {pair.rental.instance_type or "" for pair in ours}, asker=asker
    )
    return [_lived(pair, reading.prices) for pair in pairs], reading.notes


def _lived(pair: _Pair, prices: Mapping[tuple[str, str], LiveSpot]) -> _Pair:
    if pair.rental.cloud != "aws":
        return pair
    live = prices.get((pair.region or "", pair.rental.instance_type or ""))
    return pair if live is None else _Pair(pair.on_demand, pair.on_demand_quote, pair.spot, pair.spot_quote, live)


def _is_wanted(pair: _Pair, query: PriceQuery) -> bool:
    if query.spot and pair.spot_usd == UNKNOWN_USD:
        return False
    usd = pair.spot_usd if query.spot else pair.usd
    return query.max_usd_per_hour is None or usd <= float(query.max_usd_per_hour)


def _place(pair: _Pair) -> tuple[str, str, str]:
    return (pair.rental.cloud, pair.region or "", pair.rental.instance_type or "")


def _by_price(pair: _Pair, usd: float) -> tuple[object, ...]:
    return (usd, *_place(pair))


def _by_accelerator_price(pair: _Pair, usd: float) -> tuple[object, ...]:
    rental = pair.rental
    has_none = rental.accelerator is None or not rental.accelerator_count
    return (has_none, usd if has_none else usd / rental.accelerator_count, usd, *_place(pair))


def _by_memory(pair: _Pair, usd: float) -> tuple[object, ...]:
    rental = pair.rental
    memory = (rental.accelerator_memory_bytes or 0) * rental.accelerator_count
    return (-memory, usd, *_place(pair))


def _by_spot(pair: _Pair, usd: float) -> tuple[object, ...]:
    return (pair.spot_usd, usd, *_place(pair))


_ORDERS = {"gpu-price": _by_accelerator_price, "price": _by_price, "memory": _by_memory, "spot": _by_spot}


def _row(pair: _Pair, *, by_spot: bool) -> PriceRow:
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


def _key(rental: Rental | None, quote: Quote | None) -> str | None:
    return None if rental is None or quote is None else rental.offer(quote).key


def _each(rental: Rental, prices: tuple[Decimal | None, ...]) -> Decimal | None:
    """The lowest known price for one accelerator."""
    known = [usd for usd in prices if usd is not None]
    if not known or rental.accelerator is None or not rental.accelerator_count:
        return None
    return min(known) / Decimal(str(rental.accelerator_count))
