"""Answers beside the plan's table: one offer in full, the Pareto front, what limits cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from manager.cli.memory_view import memory_lines
from manager.cli.plan_view import how_trained, money, offer_name, print_bill
from manager.cli.spot_view import print_break_even
from manager.planner.codec import break_even_to_json, estimate_to_json
from manager.planner.moved import age_text
from manager.planner.plan import Estimate, Plan
from manager.planner.spot_break_even import SpotBreakEven
from manager.planner.what_if import LimitCost
from manager.prices.offer import Offer
from manager.units import format_hours, format_usd


def print_why(
    estimate: Estimate,
    console: Console,
    break_even: SpotBreakEven | None = None,
    choice: Estimate | None = None,
) -> None:
    """One offer in full: its verdict first, where spot stops paying, then bill, memory and what they rest on.

    Args:
        estimate: of the offer.
        console: where to.
        break_even: of a spot offer.
        choice: the offer that is chosen, for comparison.
    """
    offer = estimate.offer
    console.print(f"[bold]{escape(offer_name(offer))}[/bold]")
    console.print(f"key {escape(offer.key)}")
    verdict = f"can be chosen{_beside(estimate, choice)}" if estimate.reason is None else f"rejected: {estimate.reason}"
    console.print(escape(verdict if estimate.on_paper is None else f"on paper only: {estimate.on_paper}"))
    console.print(escape(f"{_price(offer)} from {offer.price_source}{_age(offer)}{_flags(offer.flags)}"))
    if estimate.hours is not None:
        hours = estimate.hours
        console.print(
            f"[bold]{money(estimate.cost_usd)}[/bold] to the finished job in {format_hours(hours.expected)} "
            f"({format_hours(hours.low)} to {format_hours(hours.high)})"
        )
    how = how_trained(estimate)
    if how:
        console.print(Padding(escape(how), (0, 0, 0, 2), expand=False))
    if break_even is not None:
        print_break_even(estimate, break_even, console)
    if estimate.lines:
        print_bill(estimate, console)
    device_bytes = offer.accelerator_memory_bytes or offer.host_memory_bytes
    if estimate.memory is not None and device_bytes is not None:
        console.print(memory_lines(estimate.memory, device_bytes))


def _beside(estimate: Estimate, choice: Estimate | None) -> str:
    """How much dearer and faster it is than the choice."""
    if choice is None or choice.cost_usd is None or estimate.cost_usd is None or choice.hours is None:
        return ""
    if estimate.hours is None:
        return ""
    if choice.offer.key == estimate.offer.key:
        return ", and is the choice"
    more = estimate.cost_usd.expected - choice.cost_usd.expected
    hours = estimate.hours.expected - choice.hours.expected
    time = f"{format_hours(abs(hours))} {'slower' if hours > 0 else 'faster'}"
    return f": {format_usd(more)} more than the choice, {choice.offer.key}, and {time}"


def why_to_json(estimate: Estimate, break_even: SpotBreakEven | None = None) -> dict[str, Any]:
    """The same, machine-readable."""
    return {"schema": 1, "offer": estimate_to_json(estimate), "spot_break_even": break_even_to_json(break_even)}


def print_pareto(plan: Plan, console: Console) -> None:
    """The offers that none beats in both dollars and hours."""
    table = Table(box=None, pad_edge=False, title="none is cheaper and faster than one of these", title_justify="left")
    for title in ("$ to finish", "low-high", "time", "$ per hour saved"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("machine", overflow="fold")
    before: Estimate | None = None
    for estimate in plan.pareto:
        cost, hours = estimate.cost_usd, estimate.hours
        band = "" if cost is None else f"{format_usd(cost.low)}-{format_usd(cost.high)}"
        table.add_row(
            format_usd(None if cost is None else cost.expected),
            band,
            format_hours(None if hours is None else hours.expected),
            _per_hour_saved(before, estimate),
            escape(offer_name(estimate.offer)),
        )
        before = estimate
    console.print(table)
    console.print(f"plan {plan.plan_id}")


def print_limit_costs(costs: list[LimitCost], console: Console) -> None:
    """What each limit costs, and what one more would."""
    table = Table(box=None, pad_edge=False, title="what limits cost, each alone", title_justify="left")
    table.add_column("limits")
    for title in ("$ to finish", "change", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("machine", overflow="fold")
    for cost in costs:
        best = cost.best
        if best is None:
            table.add_row(escape(cost.change), "-", "", "", "nothing can be chosen")
            continue
        table.add_row(
            escape(cost.change),
            format_usd(None if best.cost_usd is None else best.cost_usd.expected),
            "" if cost.added_usd is None else _signed(cost.added_usd),
            format_hours(None if best.hours is None else best.hours.expected),
            escape(offer_name(best.offer)),
        )
    console.print(table)
    console.print()


def _price(offer: Offer) -> str:
    price = offer.price_usd_per_hour
    return "price unknown" if price is None else f"{format_usd(price)}/h"


def _age(offer: Offer) -> str:
    """`, 3 h old`; nothing where that is not known."""
    return "" if offer.price_age_s is None else f", {age_text(offer.price_age_s)} old"


def _flags(flags: tuple[str, ...]) -> str:
    from manager.prices.price_rules import RULES

    told = "; ".join(RULES.get(flag, flag) for flag in flags)
    return f" ({told})" if told else ""


def _per_hour_saved(before: Estimate | None, estimate: Estimate) -> str:
    """What an hour less costs against the offer above."""
    if before is None or before.cost_usd is None or estimate.cost_usd is None:
        return ""
    if before.hours is None or estimate.hours is None:
        return ""
    saved = before.hours.expected - estimate.hours.expected
    added = estimate.cost_usd.expected - before.cost_usd.expected
    return format_usd(added / Decimal(repr(saved))) if saved > 0 else ""


def _signed(usd: Decimal) -> str:
    if usd == 0:
        return "none"
    return f"+{format_usd(usd)}" if usd > 0 else f"-{format_usd(-usd)}"
