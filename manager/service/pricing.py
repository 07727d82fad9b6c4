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
from manager.service.price_rows import ORDERS, Pair, PriceRow, price_row
from manager.spec.model import accelerator_wish

SORTS = tuple(ORDERS)


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
class PriceTable:
    """The answer."""

    rows: tuple[PriceRow, ...]
    rows_total: int
    """Rows that were wanted; `rows` may be the first of them."""
    notes: tuple[str, ...]


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
    check_places(market, clouds=query.clouds, regions=query.regions, accelerators=query.accelerators)
    pairs = list(_pairs(market, query, wishes))
    notes = list(market.notes)
    if query.live:
        pairs, said = _with_live(context, pairs, asker)
        notes += said
    wanted = [pair for pair in pairs if _is_wanted(pair, query)]
    order = ORDERS[query.sort]
    wanted.sort(key=lambda pair: order(pair, pair.spot_usd if query.spot else pair.usd))
    rows = tuple(price_row(pair, by_spot=bool(query.spot)) for pair in wanted[:top])
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
    check_places(market, clouds=clouds)
    wanted = {cloud.casefold() for cloud in clouds}
    return tuple(one for one in market.audit if not wanted or one.cloud in wanted), market.notes


def _wish(text: str) -> tuple[str, float | None]:
    try:
        return accelerator_wish(text)
    except ValueError as error:
        raise UsageError(str(error), hint="such as --gpus L4 or --gpus H100:8") from error


def _pairs(market: Market, query: PriceQuery, wishes: list[tuple[str, float | None]]) -> Iterator[Pair]:
    """Every wanted machine in every wanted region, at its cheapest quotes."""
    clouds = {cloud.casefold() for cloud in query.clouds}
    regions = {region.casefold() for region in query.regions}
    machines: dict[tuple[object, ...], list[Rental | None]] = {}
    for rental in market.rentals:
        if (clouds and rental.cloud not in clouds) or (wishes and not rental.has_accelerator_of(wishes)):
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
            yield Pair(on_demand, here.get(region), spot, there.get(region))


def _cheapest(rental: Rental | None, regions: set[str]) -> dict[str | None, Quote]:
    """Region -> its cheapest quote; quotes come by dollars."""
    found: dict[str | None, Quote] = {}
    for quote in () if rental is None else rental.quotes:
        if quote.region not in found and (not regions or (quote.region or "").casefold() in regions):
            found[quote.region] = quote
    return found


def _with_live(context: Context, pairs: list[Pair], asker: AwsAsker | None) -> tuple[list[Pair], tuple[str, ...]]:
    """The pairs with AWS's spot prices of now; of machines with an accelerator, where there are any."""
    ours = [pair for pair in pairs if pair.rental.cloud == "aws" and pair.rental.instance_type and pair.region]
    ours = [pair for pair in ours if pair.rental.accelerator is not None] or ours
    reading = live_spot(
        context, {pair.region or "" for pair in ours}, {pair.rental.instance_type or "" for pair in ours}, asker=asker
    )
    return [_lived(pair, reading.prices) for pair in pairs], reading.notes


def _lived(pair: Pair, prices: Mapping[tuple[str, str], LiveSpot]) -> Pair:
    if pair.rental.cloud != "aws":
        return pair
    live = prices.get((pair.region or "", pair.rental.instance_type or ""))
    return pair if live is None else Pair(pair.on_demand, pair.on_demand_quote, pair.spot, pair.spot_quote, live)


def _is_wanted(pair: Pair, query: PriceQuery) -> bool:
    if query.spot and pair.spot_usd == UNKNOWN_USD:
        return False
    usd = pair.spot_usd if query.spot else pair.usd
    return query.max_usd_per_hour is None or usd <= float(query.max_usd_per_hour)
