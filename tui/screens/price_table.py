"""What the screen Prices puts into its tables and its chart; values in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from manager.service.cost_accuracy import usd_column
from manager.service.nouns import RULES, PricePoint, RuleCount
from manager.service.price_rows import PriceRow, age_words, remarks
from manager.units import SECONDS_PER_HOUR, format_bytes, format_usd
from tui.widgets.chart import Series
from tui.widgets.table import Column, Row

_SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR

PRICES = (
    Column(key="accelerator", title="accelerator", widest=24),
    Column(key="on_demand", title="$/h", is_number=True),
    Column(key="spot", title="spot $/h", is_number=True),
    Column(key="cloud", title="cloud", cut=1, widest=12),
    Column(key="region", title="region", cut=2, widest=18),
    Column(key="machine", title="machine", cut=3, widest=28),
    Column(key="each", title="$/h each", cut=4, is_number=True),
    Column(key="age", title="age", cut=5, is_number=True, widest=12),
    Column(key="memory", title="memory each", cut=6, is_number=True),
    Column(key="remarks", title="remarks", cut=7, widest=40),
    Column(key="source", title="source", cut=8, widest=36),
    Column(key="market", title="market", cut=9),
)
AUDIT = (
    Column(key="cloud", title="cloud"),
    Column(key="count", title="count", is_number=True),
    Column(key="rule", title="rule", widest=32),
    Column(key="meaning", title="meaning", cut=1, widest=100),
)


def price_rows(rows: Sequence[PriceRow]) -> dict[str, tuple[Row, PriceRow]]:
    """Key -> row of the table beside its prices; keys stay the same over updates."""
    found: dict[str, tuple[Row, PriceRow]] = {}
    for row in rows:
        key = row.on_demand_key or row.spot_key or ""
        while key in found:
            key += "'"
        found[key] = (_price_row(key, row), row)
    return found


def audit_rows(counts: Sequence[RuleCount]) -> list[Row]:
    """What each rule found, the most frequent first."""
    return [
        Row(
            key=f"{one.cloud} {one.rule}",
            cells=(one.cloud, f"{one.count:,}", one.rule.replace("_", " "), RULES.get(one.rule, "")),
            sort=(one.cloud, one.count, one.rule, one.rule),
        )
        for one in sorted(counts, key=lambda one: (-one.count, one.cloud, one.rule))
    ]


def name_of(row: PriceRow) -> str:
    """A machine in one region, in a line."""
    places = " ".join(part for part in (row.cloud, row.region, row.instance_type) if part)
    return f"{_accelerator(row)}, {places}"


def history_series(found: Mapping[str, Sequence[PricePoint]], now_s: float) -> list[Series]:
    """Prices over days before now, as stairs: one holds until the next."""
    return [
        Series(name=_market(key), points=_stairs(points, now_s), colour=colour)
        for (key, points), colour in zip(found.items(), ("primary", "accent"), strict=False)
    ]


def history_lines(found: Mapping[str, Sequence[PricePoint]]) -> str:
    """The same as a table, newest first."""
    lines = [f"{'since (UTC)':<17}{'$/h':>11}{'change':>9}  market"]
    every = [(point, _market(key)) for key, points in found.items() for point in points]
    every.sort(key=lambda one: (-one[0].as_of_s, one[1]))
    dollars = usd_column(point.usd_per_hour for point, _ in every)
    for (point, market), known in zip(every, dollars, strict=True):
        since = datetime.fromtimestamp(point.as_of_s, UTC).strftime("%Y-%m-%d %H:%M")
        change = "" if point.change_share is None else f"{point.change_share:+.1%}"
        # None stands for a price that is unknown as well as for an offer that is gone.
        usd = "none" if point.usd_per_hour is None else known
        lines.append(f"{since:<17}{usd:>11}{change:>9}  {market}")
    return "\n".join(lines)


def history_words(found: Mapping[str, Sequence[PricePoint]]) -> str:
    """Lowest, highest and last price of each market, in a sentence."""
    told = []
    for key, points in found.items():
        known = [point.usd_per_hour for point in points if point.usd_per_hour is not None]
        if not known:
            continue
        last = points[-1].usd_per_hour
        now = "none now" if last is None else f"{format_usd(last)} now"
        told.append(f"{_market(key)}: {format_usd(min(known))} to {format_usd(max(known))}, {now}")
    return "; ".join(told)


def _price_row(key: str, row: PriceRow) -> Row:
    on_demand = "-" if row.on_demand_key is None else format_usd(row.on_demand_usd_per_hour)
    spot = "-" if row.spot_usd_per_hour is None else format_usd(row.spot_usd_per_hour)
    memory = row.accelerator_memory_bytes if row.accelerator else None
    markets = " ".join(
        word for word, offered in (("on-demand", row.on_demand_key), ("spot", row.spot_usd_per_hour)) if offered
    )
    accelerator = _accelerator(row)
    return Row(
        key=key,
        cells=(
            accelerator,
            on_demand,
            spot,
            row.cloud,
            row.region or "",
            row.instance_type or "",
            "" if row.usd_per_accelerator_hour is None else format_usd(row.usd_per_accelerator_hour),
            age_words(row.age_s),
            "" if not row.accelerator else "?" if memory is None else format_bytes(memory),
            remarks(row),
            row.source,
            markets,
        ),
        sort=(
            (row.accelerator or "", row.accelerator_count),
            row.on_demand_usd_per_hour,
            row.spot_usd_per_hour,
            row.cloud,
            row.region,
            row.instance_type,
            row.usd_per_accelerator_hour,
            row.age_s,
            memory,
            row.flags,
            row.source,
            markets,
        ),
    )


def _accelerator(row: PriceRow) -> str:
    return f"{row.accelerator_count:g} x {row.accelerator}" if row.accelerator else "CPU"


def _market(key: str) -> str:
    return key.rpartition("/")[2]


def _stairs(points: Sequence[PricePoint], now_s: float) -> tuple[tuple[float, float], ...]:
    """Corners of the stairs; a stretch without a price is bridged by none of its own."""
    corners: list[tuple[float, float]] = []
    ends = [point.as_of_s for point in points[1:]] + [max(now_s, points[-1].as_of_s)]
    for point, end_s in zip(points, ends, strict=True):
        if point.usd_per_hour is not None:
            usd = _float(point.usd_per_hour)
            corners += [(_days(point.as_of_s, now_s), usd), (_days(end_s, now_s), usd)]
    return tuple(corners)


def _days(at_s: float, now_s: float) -> float:
    return (at_s - now_s) / _SECONDS_PER_DAY


def _float(usd: Decimal) -> float:
    return float(usd)
