"""Rows of the three lists of offers: what can be chosen, what was rejected, and the frontier; text alone, no widget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from manager.service.nouns import Estimate, ReasonCount
from manager.service.offer_words import frontier, machine_words, price
from manager.units import Interval, MoneyInterval, format_hours, format_usd
from tui.screens.plan.offer_columns import BAR_CELLS
from tui.widgets.table import Row

_SCALED_BY, _MOST_TIMES = 12, 5
"""Offers, cheapest first, whose intervals fill the bar, and how many times the first one's it may be long; what goes
beyond is cut by `»`."""
CHOICE = "◆"
"""The sign of the chosen offer, as in the chart."""


def keyed(estimates: Iterable[Estimate]) -> dict[str, Estimate]:
    """Estimates by a key of their own: zones and prices may differ where the offer's key does not."""
    found: dict[str, Estimate] = {}
    for estimate in estimates:
        key, number = estimate.offer.key, 1
        while key in found:
            number += 1
            key = f"{estimate.offer.key}#{number}"
        found[key] = estimate
    return found


def offer_rows(estimates: dict[str, Estimate], choice: Estimate | None) -> list[Row]:
    """Offers that can be chosen, with a bar from low to high on one scale."""
    scale = scale_usd(list(estimates.values()))
    return [_offer_row(key, one, scale, is_choice=one is choice) for key, one in estimates.items()]


def scale_usd(estimates: Sequence[Estimate]) -> Decimal:
    """Dollars at the right end of the bar; 0 where there is nothing to draw."""
    costs = [estimate.cost_usd.high for estimate in estimates[:_SCALED_BY] if estimate.cost_usd is not None]
    return min(max(costs), costs[0] * _MOST_TIMES) if costs else Decimal(0)


def _offer_row(key: str, estimate: Estimate, scale: Decimal, *, is_choice: bool) -> Row:
    cost, hours, offer = estimate.cost_usd, estimate.hours, estimate.offer
    name = machine_words(offer)
    return Row(
        key=key,
        cells=(
            _usd(cost),
            "" if cost is None else interval_bar(cost, scale),
            "" if cost is None else f"{format_usd(cost.low)}-{format_usd(cost.high)}",
            _hours(hours),
            "" if hours is None else f"{format_hours(hours.low)}-{format_hours(hours.high)}",
            fit_words(estimate),
            price(offer),
            f"{CHOICE if is_choice else ' '} {name}",
            offer.instance_type or "",
        ),
        sort=(
            _expected_usd(cost),
            None if cost is None else cost.high,
            None if cost is None else cost.high,
            _expected_hours(hours),
            None if hours is None else hours.high,
            used_share(estimate),
            offer.price_usd_per_hour,
            name,
            offer.instance_type,
        ),
        style="success" if is_choice else "",
    )


def rejected_rows(estimates: dict[str, Estimate]) -> list[Row]:
    """Offers that cannot be chosen, those nearest to a choice first."""
    rows = []
    for key, one in estimates.items():
        name, offer = machine_words(one.offer), one.offer
        cells = (name, one.reason or "", _usd(one.cost_usd), _hours(one.hours), price(offer), offer.instance_type or "")
        sort = (name, one.reason or "", _expected_usd(one.cost_usd), _expected_hours(one.hours))
        rows.append(Row(key=key, cells=cells, sort=(*sort, offer.price_usd_per_hour, offer.instance_type)))
    return rows


def frontier_rows(estimates: dict[str, Estimate]) -> list[Row]:
    """The frontier as a list, which is the chart in words."""
    rows = []
    for key, row in zip(estimates, frontier(tuple(estimates.values())), strict=True):
        cost, hours, offer = row.estimate.cost_usd, row.estimate.hours, row.estimate.offer
        saved, name = row.usd_per_hour_saved, machine_words(row.estimate.offer)
        told = "" if saved is None else format_usd(saved)
        cells = (_usd(cost), _hours(hours), told, price(offer), name, offer.instance_type or "")
        sort = (_expected_usd(cost), _expected_hours(hours), saved, offer.price_usd_per_hour, name)
        rows.append(Row(key=key, cells=cells, sort=(*sort, offer.instance_type)))
    return rows


def reasons_line(reasons: Sequence[ReasonCount]) -> str:
    """`rejected 214: 102 spot not allowed · 27 does not fit`; empty where nothing was."""
    if not reasons:
        return ""
    total = sum(count.offers for count in reasons)
    return f"rejected {total:,}: " + " · ".join(f"{count.offers:,} {count.reason}" for count in reasons)


def interval_bar(cost: MoneyInterval, scale: Decimal, cells: int = BAR_CELLS) -> str:
    """`  ├──●─────┤     `: low, expected and high between 0 and the scale; `»` where it goes on."""
    if scale <= 0:
        return " " * cells
    low, expected, high = (int(end / scale * (cells - 1)) for end in (cost.low, cost.expected, cost.high))
    drawn = [" "] * cells
    for at in range(max(low, 0), min(high, cells - 1) + 1):
        drawn[at] = "─"
    if low < cells:
        drawn[low] = "├"
    if high < cells:
        drawn[high] = "┤"
    if expected < cells:
        drawn[expected] = "●"
    if high >= cells:
        drawn[-1] = "»"
    return "".join(drawn)


def fit_words(estimate: Estimate) -> str:
    """`fits 68%`: whether the step fits, and how much of the memory it needs."""
    share = used_share(estimate)
    told = "?" if share is None else f"{share:.0%}"
    if not estimate.fits:
        return "too large" if share is None else f"too large {told}"
    return f"fits {told}" + (" · on paper" if estimate.on_paper is not None else "")


def used_share(estimate: Estimate) -> float | None:
    """What the step needs by what a device has; None: unknown."""
    has = estimate.offer.accelerator_memory_bytes or estimate.offer.host_memory_bytes
    return None if estimate.memory is None or not has else estimate.memory.needed_bytes / has


def _expected_usd(cost: MoneyInterval | None) -> Decimal | None:
    return None if cost is None else cost.expected


def _expected_hours(hours: Interval | None) -> float | None:
    return None if hours is None else hours.expected


def _usd(cost: MoneyInterval | None) -> str:
    return format_usd(_expected_usd(cost))


def _hours(hours: Interval | None) -> str:
    return format_hours(_expected_hours(hours))
