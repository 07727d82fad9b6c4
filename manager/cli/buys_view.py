"""What `plan --buys N` prints: the longest training for the money, where, and the largest model for it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.planner.buys import Bought
from manager.planner.plan import Estimate
from manager.service.buying import LargestModel, Purchase
from manager.units import MoneyInterval, format_hours, format_usd, interval_usd

BUYS_JSON_VERSION = 1
_NARROW = 100


def print_purchase(purchase: Purchase, console: Console, *, top: int) -> None:
    """Print the whole answer; `top` offers are compared."""
    amount, deadline = purchase.amount, purchase.spec.budget.deadline_hours
    in_time = "" if deadline is None else f" within {format_hours(deadline)}"
    console.print(
        f"[bold]{format_usd(purchase.usd)}[/bold]{in_time} buy [bold]{_epochs(amount.epochs)}[/bold] of "
        f"{escape(purchase.spec.name)}: {amount.steps:,} steps, {_large(amount.quantity)} {amount.unit}"
    )
    console.print(f"  {escape(_choice_text(purchase.choice))}, plan {purchase.plan.plan_id}")
    console.print(escape(_largest_text(purchase)))
    console.print()
    _print_offers(purchase, console, top)
    for note in purchase.notes:
        console.print(f"note: {escape(note.removesuffix('.'))}")


def purchase_to_json(purchase: Purchase, *, top: int | None = None) -> dict[str, Any]:
    """The published form, schema 1; money in dollars, null where unknown."""
    amount, choice = purchase.amount, purchase.choice
    return {
        "schema": BUYS_JSON_VERSION,
        "usd": float(purchase.usd),
        "steps": amount.steps,
        "epochs": amount.epochs,
        "quantity": amount.quantity,
        "unit": amount.unit,
        "plan_id": purchase.plan.plan_id,
        "offer": choice.offer.key,
        "cost_usd": _ends(choice.cost_usd),
        "hours": None if choice.hours is None else choice.hours.expected,
        "largest_model": _largest_json(purchase.largest),
        "offers": [_bought_json(one) for one in purchase.bought[:top]],
        "notes": list(purchase.notes),
    }


def _choice_text(choice: Estimate) -> str:
    hours = format_hours(None if choice.hours is None else choice.hours.expected)
    return f"{interval_usd(choice.cost_usd)}, {hours} on {choice.offer.title}"


def _largest_text(purchase: Purchase) -> str:
    largest = purchase.largest
    tried = f"{largest.planned} of {largest.known} models planned"
    if largest.is_end:
        tried += ", no larger one has a shipped trace for this job"
    if largest.plan is None or largest.plan.choice is None:
        return f"largest model: none of the shipped table is within {format_usd(purchase.usd)}; {tried}"
    profile = largest.plan.profile
    amount = purchase.spec.training
    length = f"{amount.max_steps:,} steps" if amount.max_steps is not None else _epochs(amount.epochs)
    return (
        f"largest model for {length}: {profile.model}, {profile.parameters / 1e6:,.0f} M parameters, "
        f"{profile.method}: {_choice_text(largest.plan.choice)}, plan {largest.plan.plan_id}; {tried}"
    )


def _print_offers(purchase: Purchase, console: Console, top: int) -> None:
    wide = console.width >= _NARROW
    per_epoch = purchase.amount.steps / purchase.amount.epochs
    table = Table(box=None, pad_edge=False, title="by steps that the money buys", title_justify="left")
    for title in ("epochs", "steps", "surely"):
        table.add_column(title, justify="right", no_wrap=True)
    if wide:
        table.add_column("paid once", justify="right", no_wrap=True)
        table.add_column("$ per 1,000 steps", justify="right", no_wrap=True)
    table.add_column("machine", overflow="fold")
    for one in purchase.bought[:top]:
        cells = [f"{one.steps / per_epoch:,.1f}", f"{one.steps:,}", f"{one.steps_surely:,}"]
        if wide:
            cells += [format_usd(one.split.fixed_usd), format_usd(one.split.per_step_usd * 1000)]
        table.add_row(*cells, escape(one.estimate.offer.title))
    console.print(table)
    if len(purchase.bought) > top:
        console.print(f"... and {len(purchase.bought) - top} more: --top {len(purchase.bought)}")
    console.print()


def _epochs(epochs: float) -> str:
    return f"{epochs:,.0f} epochs" if epochs >= 100 else f"{epochs:.3g} epochs"


def _large(quantity: float) -> str:
    """A count that may be in millions or billions."""
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if quantity >= size:
            return f"{quantity / size:,.1f} {unit}"
    return f"{quantity:,.0f}" if quantity >= 10 else f"{quantity:.2g}"


def _largest_json(largest: LargestModel) -> dict[str, Any]:
    plan = largest.plan
    choice = None if plan is None else plan.choice
    return {
        "model": None if plan is None else plan.profile.model,
        "parameters": None if plan is None else plan.profile.parameters,
        "plan_id": None if plan is None else plan.plan_id,
        "offer": None if choice is None else choice.offer.key,
        "cost_usd": _ends(None if choice is None else choice.cost_usd),
        "models_planned": largest.planned,
        "models_known": largest.known,
        "no_larger_one_ships": largest.is_end,
    }


def _bought_json(one: Bought) -> dict[str, Any]:
    return {
        "offer": one.estimate.offer.key,
        "steps": one.steps,
        "steps_surely": one.steps_surely,
        "paid_once_usd": float(one.split.fixed_usd),
        "usd_per_step": float(one.split.per_step_usd),
    }


def _ends(interval: MoneyInterval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"low": float(interval.low), "expected": float(interval.expected), "high": float(interval.high)}
