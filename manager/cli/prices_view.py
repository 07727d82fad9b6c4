"""Prices as tables and as JSON; money stands first, so that it is the last thing a narrow terminal loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.prices.history import PricePoint
from manager.prices.price_rules import RULES, RuleCount
from manager.service.price_rows import LIVE_FLAG, UNSAID, PriceRow, age_words, remarks
from manager.service.pricing import PriceTable
from manager.units import format_bytes, format_usd

if TYPE_CHECKING:
    from manager.service.price_refresh import Refreshed

_FOR_MEMORY, _FOR_REMARKS = 90, 125
"""Columns of the terminal from which memory, and age and remarks, have room beside money and machine."""


def print_prices(table: PriceTable, console: Console, *, by_spot: bool, with_spot: bool) -> None:
    """The rows with a title, what they mean, and the notes."""
    if table.rows:
        console.print(_price_table(table.rows, width=console.width, with_spot=with_spot))
        if table.rows_total > len(table.rows):
            console.print(f"... and {table.rows_total - len(table.rows):,} more: --top {table.rows_total}")
        _print_flags(table.rows, console)
    else:
        console.print("no machine is offered so: ask for less")
    if by_spot:
        console.print("$/h of one accelerator: of the spot price", style="dim")
    console.print()
    for note in table.notes:
        console.print(f"note: {escape(note.removesuffix('.'))}")


def row_to_json(row: PriceRow) -> dict[str, Any]:
    """One row of `--json`; dollars as numbers, unknown as null."""
    return {
        "cloud": row.cloud,
        "region": row.region,
        "instance_type": row.instance_type,
        "accelerator": row.accelerator,
        "accelerator_count": row.accelerator_count,
        "accelerator_memory_bytes": row.accelerator_memory_bytes,
        "on_demand_usd_per_hour": _number(row.on_demand_usd_per_hour),
        "spot_usd_per_hour": _number(row.spot_usd_per_hour),
        "spot_share": row.spot_share,
        "usd_per_accelerator_hour": _number(row.usd_per_accelerator_hour),
        "price_age_s": row.age_s,
        "price_source": row.source,
        "flags": list(row.flags),
        "on_demand_key": row.on_demand_key,
        "spot_key": row.spot_key,
    }


def print_refreshed(lines: Sequence[Refreshed], console: Console) -> None:
    """One line a cloud."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for line in lines:
        table.add_row(line.cloud, line.state, escape(line.detail))
    console.print(table)


def print_history(found: Mapping[str, Sequence[PricePoint]], console: Console) -> None:
    """Dates, prices and changes of each offer."""
    for key, points in found.items():
        console.print(escape(key), style="bold", soft_wrap=True)
        table = Table(box=None, pad_edge=False)
        for name in ("since (UTC)", "$/h", "change"):
            table.add_column(name, justify="left" if name.startswith("since") else "right", no_wrap=True)
        for point in points:
            change = "" if point.change_share is None else f"{point.change_share:+.1%}"
            usd = "unknown" if point.usd_per_hour is None else f"${point.usd_per_hour:,.4f}"
            table.add_row(_day(point.as_of_s), usd, change)
        console.print(table)
        console.print()


def point_to_json(point: PricePoint) -> dict[str, Any]:
    """One price of `--history --json`."""
    return {
        "as_of": datetime.fromtimestamp(point.as_of_s, UTC).isoformat(timespec="seconds"),
        "usd_per_hour": _number(point.usd_per_hour),
        "change_share": point.change_share,
    }


def print_audit(counts: Sequence[RuleCount], notes: Sequence[str], console: Console) -> None:
    """What each rule found, per cloud."""
    if counts:
        table = Table(box=None, pad_edge=False)
        table.add_column("cloud", no_wrap=True)
        table.add_column("count", justify="right", no_wrap=True)
        table.add_column("rule", no_wrap=True)
        table.add_column("meaning", overflow="fold")
        for one in counts:
            table.add_row(one.cloud, f"{one.count:,}", one.rule, escape(RULES[one.rule]))
        console.print(table)
    else:
        console.print("no rule found anything")
    console.print()
    for note in notes:
        console.print(f"note: {escape(note.removesuffix('.'))}")


def _price_table(rows: Sequence[PriceRow], *, width: int, with_spot: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("$/h each", justify="right", no_wrap=True)
    table.add_column("$/h", justify="right", no_wrap=True)
    if with_spot:
        table.add_column("spot $/h", justify="right", no_wrap=True)
        table.add_column("spot %", justify="right", no_wrap=True)
    table.add_column("accelerator", no_wrap=True)
    if width >= _FOR_MEMORY:
        table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("machine", overflow="fold")
    if width >= _FOR_REMARKS:
        table.add_column("age", justify="right", no_wrap=True)
        table.add_column("remarks", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, width=width, with_spot=with_spot))
    return table


def _cells(row: PriceRow, *, width: int, with_spot: bool) -> list[str]:
    cells = [_dollars(row.usd_per_accelerator_hour), _dollars(row.on_demand_usd_per_hour, unknown="unknown")]
    if with_spot:
        cells += [_dollars(row.spot_usd_per_hour), "" if row.spot_share is None else f"{row.spot_share:.0%}"]
    cells.append(escape(f"{row.accelerator_count:g} x {row.accelerator}") if row.accelerator else "CPU")
    if width >= _FOR_MEMORY:
        cells.append("?" if row.accelerator_memory_bytes is None else _memory(row))
    cells.append(escape(" ".join(part for part in (row.cloud, row.region, row.instance_type) if part)))
    if width >= _FOR_REMARKS:
        cells += [age_words(row.age_s), remarks(row)]
    return cells


def _memory(row: PriceRow) -> str:
    return format_bytes(row.accelerator_memory_bytes).replace(" ", "") + (" each" if row.accelerator_count > 1 else "")


def _print_flags(rows: Sequence[PriceRow], console: Console) -> None:
    """What the remarks in the table mean, once each."""
    shown = dict.fromkeys(flag for row in rows for flag in row.flags if flag not in UNSAID)
    for flag in shown:
        # What was noticed of this machine is no rule of catalogs, and says itself what it means.
        meaning = "AWS's answer of this minute, for its cheapest zone" if flag == LIVE_FLAG else RULES.get(flag)
        if meaning is not None:
            console.print(f"  {flag.replace('_', ' ')}: {escape(meaning)}", style="dim")


def _dollars(usd: Decimal | None, *, unknown: str = "-") -> str:
    return unknown if usd is None else format_usd(usd)


def _number(usd: Decimal | None) -> float | None:
    return None if usd is None else float(usd)


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M")
