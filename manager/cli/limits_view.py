"""Answers beside the plan's table: one offer in full, the Pareto front, what limits cost."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from manager.cli.memory_view import memory_lines
from manager.cli.plan_view import print_bill
from manager.cli.spot_view import print_break_even
from manager.planner.codec import break_even_to_json, estimate_to_json
from manager.planner.plan import Estimate, Plan
from manager.planner.spot_break_even import SpotBreakEven
from manager.planner.what_if import LimitCost
from manager.reports.frontier import FRONTIER, frontier
from manager.reports.why import why
from manager.units import format_hours, format_usd, signed_usd


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
    told = why(estimate, break_even=break_even, choice=choice)
    console.print(f"[bold]{escape(told.name)}[/bold]")
    console.print(f"key {escape(told.key)}")
    console.print(escape(told.verdict))
    console.print(escape(told.price))
    if told.cost is not None:
        console.print(f"[bold]{told.cost}[/bold] to the finished job in {told.time}")
    if told.how:
        console.print(Padding(escape(told.how), (0, 0, 0, 2), expand=False))
    if told.break_even is not None:
        print_break_even(told.break_even, console)
    if told.bill is not None:
        print_bill(told.bill, console)
    if told.memory:
        console.print(memory_lines(told.memory))


def why_to_json(estimate: Estimate, break_even: SpotBreakEven | None = None) -> dict[str, Any]:
    """The same, machine-readable."""
    return {"schema": 1, "offer": estimate_to_json(estimate), "spot_break_even": break_even_to_json(break_even)}


def print_pareto(plan: Plan, console: Console) -> None:
    """The offers that none beats in both dollars and hours."""
    table = Table(box=None, pad_edge=False, title=FRONTIER, title_justify="left")
    for title in ("$ to finish", "low-high", "time", "$ per hour saved"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("machine", overflow="fold")
    for row in frontier(plan.pareto):
        cost, hours = row.estimate.cost_usd, row.estimate.hours
        band = "" if cost is None else f"{format_usd(cost.low)}-{format_usd(cost.high)}"
        table.add_row(
            format_usd(None if cost is None else cost.expected),
            band,
            format_hours(None if hours is None else hours.expected),
            "" if row.usd_per_hour_saved is None else format_usd(row.usd_per_hour_saved),
            escape(row.estimate.offer.title),
        )
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
            "" if cost.added_usd is None else signed_usd(cost.added_usd),
            format_hours(None if best.hours is None else best.hours.expected),
            escape(best.offer.title),
        )
    console.print(table)
    console.print()
