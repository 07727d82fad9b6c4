"""What changed between two plans, in words: tables of text that the terminal and a pull request both show.

Owns wording and rounding. Dollars per line are shown with as many digits as it takes for their changes to add up, to
the cent, to the change of the total that is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from manager.planner.difference import DollarsChange, PlanDifference, Side, percent
from manager.planner.plan import Estimate
from manager.prices.offer import Offer
from manager.reports.change_figures import (
    UNKNOWN,
    bytes_change,
    digits_of,
    digits_that_add_up,
    fixed,
    hours_change,
    signed,
    with_percent,
)
from manager.units import Interval, MoneyInterval, format_bytes, format_hours, format_usd

_NO_PLAN = "no plan before"
_NO_HOURS = Interval(low=0.0, expected=0.0, high=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table."""

    name: str
    old: str
    new: str
    change: str
    """With sign, and in per cent where it can be said; empty for what is no quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a title."""

    title: str
    rows: tuple[Row, ...]


def headline(found: PlanDifference) -> str:
    """The whole answer in one line."""
    if found.new.no_choice is not None:
        return f"nothing can be chosen any more: {found.new.no_choice}"
    if found.old is not None and found.old.no_choice is not None:
        return f"{_usd(found.total.new_usd)} to the finished job, where nothing could be chosen before"
    if found.old is None:
        return f"{_usd(found.total.new_usd)} to the finished job, {_NO_PLAN}"
    if found.is_empty:
        return f"no difference: {_usd(found.total.new_usd)} to the finished job"
    return f"{_usd(found.total.old_usd)} to {_usd(found.total.new_usd)} to the finished job, {_dollar_change(found)}"


def summary(found: PlanDifference) -> Table:
    """Dollars, hours, memory and machine of the two choices."""
    old, new = found.old, found.new
    hours = (_NO_HOURS if old is None else old.hours, new.hours)
    rows = [
        Row(name="dollars to finish", old=_sum(old), new=_sum(new), change=_dollar_change(found)),
        Row(name="time", old=_time(old), new=_time(new), change=hours_change(*hours)),
        Row(
            name="memory of a device",
            old=_bytes(found, found.memory.total.old_bytes),
            new=format_bytes(found.memory.total.new_bytes),
            change=bytes_change(found.memory.total),
        ),
        _plain_row("machine", _of(old, lambda side: machine_name(side.offer)), machine_name(new.offer)),
        _plain_row("price", _of(old, lambda side: _price(side.offer)), _price(new.offer)),
        _plain_row("step", _of(old, lambda side: _step(side.choice)), _step(new.choice)),
        _plain_row("price of (day)", _of(old, price_date), price_date(new)),
        _plain_row("plan", _of(old, lambda side: side.plan_id), new.plan_id),
    ]
    return Table(title="", rows=tuple(rows))


def question(found: PlanDifference) -> Table:
    """What was asked differently, and what follows for any machine."""
    rows = [
        Row(name=change.name, old=_said(change.old), new=_said(change.new), change="")
        for change in (*found.question, *found.workload)
    ]
    return Table(title="What changed in the question", rows=tuple(rows))


def bill(found: PlanDifference) -> Table:
    """Expected dollars per line, and their sum; empty when no line has changed."""
    shown = [line for line in found.dollars if line.old_usd or line.new_usd]
    if all(line.change_usd == 0 for line in shown):
        return Table(title="Dollars per line", rows=())
    digits = digits_that_add_up(shown, found.total)
    return Table(title="Dollars per line", rows=tuple(_line_row(line, digits) for line in (*shown, found.total)))


def memory(found: PlanDifference) -> Table:
    """Bytes per line, and their sum; empty when no line has changed."""
    part = found.memory
    if all(line.change_bytes == 0 for line in part.lines):
        return Table(title="", rows=())
    where = "each on its own machine" if part.machine is None else f"both on {part.machine}"
    if found.old is None:
        where = "on the chosen machine"
    rows = [
        Row(
            name=line.name.replace("_", " "),
            old=_bytes(found, line.old_bytes),
            new=format_bytes(line.new_bytes),
            change=bytes_change(line),
        )
        for line in (*part.lines, part.total)
    ]
    return Table(title=f"Memory of a device per line, {where}", rows=tuple(rows))


def remarks(found: PlanDifference) -> tuple[str, ...]:
    """What a reader should know beside the figures: intervals, other prices, other estimators, the old machine."""
    said = [_interval_remark(found), _source_remark(found)]
    old, new = found.old, found.new
    if old is not None and old.no_choice is not None:
        said.append(f"before, nothing could be chosen: {old.no_choice}")
    if old is not None and old.estimator != new.estimator:
        said.append(
            f"the plans were estimated in different ways ({old.estimator or UNKNOWN}, {new.estimator or UNKNOWN}), "
            "which is part of the change"
        )
    if found.is_same_machine and old is not None and old.offer is not None and new.offer is not None:
        said.append(_price_remark(old.offer, new.offer))
    now = found.old_machine_now
    if now is not None:
        answer = now.reason or f"{_usd(None if now.cost_usd is None else now.cost_usd.expected)} expected"
        said.append(f"the machine chosen before, {machine_name(now.offer)}, now: {answer}")
    return tuple(sentence for sentence in said if sentence is not None)


def machine_name(offer: Offer | None) -> str:
    """`aws us-east-1 g6.xlarge, 1 x L4, spot`; `none` without a choice."""
    if offer is None:
        return "none"
    place = " ".join(part for part in (offer.cloud, offer.region, offer.instance_type) if part)
    device = f"{offer.accelerator_count:g} x {offer.accelerator}" if offer.accelerator else "CPU"
    nodes = "" if offer.num_nodes == 1 else f", {offer.num_nodes} nodes"
    return f"{place}, {device}{', spot' if offer.use_spot else ''}{nodes}"


def price_date(side: Side) -> str:
    """Day (UTC) from which the chosen offer's price is."""
    offer = side.offer
    if offer is None:
        return "none"
    if offer.price_age_s is None:
        return UNKNOWN
    # A date minus itself in floating point may fall a moment before midnight.
    return datetime.fromtimestamp(round(side.created_at_s - offer.price_age_s), UTC).date().isoformat()


def _interval_remark(found: PlanDifference) -> str | None:
    ends = [
        f"{when} {_range(side.cost_usd)}, {_hours_range(side.hours)}"
        for when, side in (("before", found.old), ("now", found.new))
        if side is not None and side.cost_usd is not None and side.hours is not None
    ]
    return f"changes are of expected values; estimates are intervals: {'; '.join(ends)}" if ends else None


def _source_remark(found: PlanDifference) -> str | None:
    sources = [
        side.offer.price_source for side in (found.old, found.new) if side is not None and side.offer is not None
    ]
    return f"prices: {' and '.join(dict.fromkeys(sources))}" if sources else None


def _price_remark(old: Offer, new: Offer) -> str | None:
    before, after = old.price_usd_per_hour, new.price_usd_per_hour
    if before == after:
        return None
    moved = percent(before, after)
    by = "" if moved is None else f" ({moved:+,.1f} %)"
    return f"the price of the machine moved from {_price(old)} to {_price(new)}{by}"


def _line_row(line: DollarsChange, digits: int) -> Row:
    change = line.change_usd
    return Row(
        name=line.name.replace("_", " "),
        old=fixed(line.old_usd, digits),
        new=fixed(line.new_usd, digits),
        change=with_percent(signed(change, digits), percent(line.old_usd, line.new_usd)),
    )


def _dollar_change(found: PlanDifference) -> str:
    total = found.total
    digits = digits_of(total.change_usd)
    return with_percent(signed(total.change_usd, digits), percent(total.old_usd, total.new_usd))


def _plain_row(name: str, old: str, new: str) -> Row:
    return Row(name=name, old=old, new=new, change="")


def _of(side: Side | None, text: Callable[[Side], str]) -> str:
    return _NO_PLAN if side is None else text(side)


def _sum(side: Side | None) -> str:
    if side is None:
        return _NO_PLAN
    cost = side.cost_usd
    return UNKNOWN if cost is None else f"{format_usd(cost.expected)} ({_range(cost)})"


def _time(side: Side | None) -> str:
    if side is None:
        return _NO_PLAN
    hours = side.hours
    return UNKNOWN if hours is None else f"{format_hours(hours.expected)} ({_hours_range(hours)})"


def _range(cost: MoneyInterval) -> str:
    return f"{format_usd(cost.low)} to {format_usd(cost.high)}"


def _hours_range(hours: Interval | None) -> str:
    return UNKNOWN if hours is None else f"{format_hours(hours.low)} to {format_hours(hours.high)}"


def _bytes(found: PlanDifference, value: int | None) -> str:
    return _NO_PLAN if found.old is None else format_bytes(value)


def _price(offer: Offer | None) -> str:
    return "none" if offer is None else f"{format_usd(offer.price_usd_per_hour)}/h"


def _step(choice: Estimate | None) -> str:
    """`32 samples, bf16, checkpointing, fsdp`: how the chosen machine does a step."""
    if choice is None:
        return "none"
    parts = [UNKNOWN if choice.micro_batch is None else f"{choice.micro_batch:,} at a time"]
    parts += [choice.precision] if choice.precision else []
    parts += ["checkpointing"] if choice.gradient_checkpointing else []
    parts += [choice.sharding] if choice.sharding != "none" else []
    return ", ".join(parts)


def _said(value: str | None) -> str:
    return "not set" if value is None else value


def _usd(value: Decimal | None) -> str:
    return format_usd(value)
