"""A plan as tables: the choice with its bill, the other offers, what was rejected and why."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.planner.plan import Estimate, Plan
from manager.reports.offer_words import how_trained
from manager.reports.why import BILL_COLUMNS, Bill, bill_words
from manager.units import format_bytes, format_hours, format_usd, interval_usd
from manager.workload.profile import DataStats

_NARROW = 100
_MOST_EXPLAINED = 5
_TINY = 70
"""Columns of the terminal under which $/h and memory make room for dollars, time and the machine's name."""


def print_plan(plan: Plan, console: Console, *, top: int) -> None:
    """Print the whole answer; money stands first, so that it is the last thing a narrow terminal loses."""
    _print_job(plan, console)
    choice = plan.choice
    if choice is not None:
        _print_choice(choice, console)
    if plan.offers:
        _print_offers(plan, console, top)
    _print_rejected(plan, console, top)
    for note in plan.notes:
        console.print(f"note: {escape(note.removesuffix('.'))}")
    console.print(f"plan {plan.plan_id}")


def _print_job(plan: Plan, console: Console) -> None:
    spec, profile = plan.spec, plan.profile
    console.print(
        f"[bold]{escape(spec.name)}[/bold]: {escape(profile.model)}, {profile.method}, {profile.precision}, "
        f"{profile.parameters / 1e6:,.1f} M parameters, {profile.trainable_parameters / 1e6:,.2f} M trained"
    )
    data = profile.data
    console.print(
        f"{_data_text(data, is_packed=spec.training.packing)}; "
        f"{profile.steps:,} steps of {profile.batch_size} samples, {profile.flops_per_step / 1e12:,.3g} TFLOP a step"
    )
    console.print(f"data: {escape(data.basis)}. estimate: {escape(profile.basis)}.", style="dim")
    console.print()


def _data_text(data: DataStats, *, is_packed: bool) -> str:
    """The training set in the unit of its kind."""
    if data.kind == "images" and data.mean_width is not None and data.mean_height is not None:
        return (
            f"{data.train_samples:,} images to train on, {data.mean_width:.0f} x {data.mean_height:.0f} pixels on "
            f"average, {data.largest_width} x {data.largest_height} at most"
        )
    if data.kind == "audio" and data.mean_seconds is not None:
        return (
            f"{data.train_samples:,} recordings to train on, {data.mean_seconds:.1f} s on average, "
            f"{data.longest_seconds:.1f} s the longest"
        )
    packed = f", packed into {data.packed_sequences:,} sequences" if is_packed and data.packed_sequences else ""
    return (
        f"{data.train_samples:,} samples to train on, {data.mean_tokens:.0f} tokens on average, "
        f"{data.longest_tokens} the longest, {data.truncated_share:.0%} cut{packed}"
    )


def _print_choice(choice: Estimate, console: Console) -> None:
    name = escape(choice.offer.title)
    console.print(f"[bold]{interval_usd(choice.cost_usd)}[/bold] to the finished job on [bold]{name}[/bold]")
    console.print(f"  {escape(how_trained(choice))}")
    print_bill(bill_words(choice), console)


def print_bill(bill: Bill, console: Console) -> None:
    """Cost lines, and what they rest on."""
    table = Table(box=None, pad_edge=False)
    table.add_column(BILL_COLUMNS[0])
    for title in BILL_COLUMNS[1:-1]:
        table.add_column(title, justify="right")
    table.add_column(BILL_COLUMNS[-1], overflow="fold")
    for row in bill.rows:
        table.add_row(*row)
    console.print(table)
    if bill.host is not None:
        console.print(f"  {escape(bill.host)}", style="dim")
    for text in bill.assumptions:
        console.print(f"  {escape(text)}", style="dim")
    console.print()


def _print_offers(plan: Plan, console: Console, top: int) -> None:
    wide, tiny = console.width >= _NARROW, console.width < _TINY
    table = Table(
        box=None,
        pad_edge=False,
        title=f"{_counted(offers_total(plan))}, by dollars to a finished job",
        title_justify="left",
    )
    table.add_column("$ to finish", justify="right", no_wrap=True)
    if wide:
        table.add_column("low-high", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    if not tiny:
        table.add_column("$/h", justify="right", no_wrap=True)
        table.add_column("memory", justify="right", no_wrap=True)
    if wide:
        table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("machine", overflow="fold")
    for position, estimate in enumerate(plan.offers[:top]):
        table.add_row(*_offer_cells(estimate, wide=wide, tiny=tiny), style="bold" if position == plan.chosen else None)
    console.print(table)
    total = offers_total(plan)
    if total > top:
        console.print(f"... and {total - top:,} more: --top {min(total, 2 * top)}")
    fastest = plan.pareto[-1] if len(plan.pareto) > 1 else None
    if fastest is not None and fastest.hours is not None:
        console.print(
            f"fastest of all: {format_hours(fastest.hours.expected)} for {interval_usd(fastest.cost_usd)} on "
            f"{escape(fastest.offer.title)}; --pareto has those between"
        )
    console.print()


def _counted(offers: int) -> str:
    return "1 offer" if offers == 1 else f"{offers:,} offers"


def offers_total(plan: Plan) -> int:
    """All that can be chosen, also those that the plan does not keep."""
    return len(plan.offers) if plan.offers_total is None else plan.offers_total


def _offer_cells(estimate: Estimate, *, wide: bool, tiny: bool) -> list[str]:
    offer, cost = estimate.offer, estimate.cost_usd
    price = "?" if offer.price_usd_per_hour is None else format_usd(offer.price_usd_per_hour)
    memory = "?" if estimate.memory is None else format_bytes(estimate.memory.total_bytes).replace(" ", "")
    cells = [format_usd(cost.expected if cost else None)]
    if wide:
        cells.append(f"{format_usd(cost.low)}-{format_usd(cost.high)}" if cost else "")
    cells.append(format_hours(estimate.hours.expected if estimate.hours else None))
    if not tiny:
        cells += [price, memory]
    if wide:
        passes = estimate.accumulation or 1
        cells.append(f"{estimate.micro_batch or '-'}{f' x {passes}' if passes > 1 else ''}")
    means = [estimate.sharding] if estimate.sharding == "fsdp" else []
    means += ["checkpointing"] if estimate.gradient_checkpointing else []
    means += ["on paper"] if estimate.on_paper is not None else []
    return [*cells, escape(", ".join((offer.title, *means)))]


def _print_rejected(plan: Plan, console: Console, top: int) -> None:
    if not plan.rejected:
        return
    reasons = {count.reason: count.offers for count in plan.reasons}
    if not reasons:
        reasons = dict(Counter(_kind_of_reason(estimate) for estimate in plan.rejected).most_common())
    summary = "; ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    console.print(f"{sum(reasons.values()):,} rejected: {escape(summary)}")
    # What the user ruled out needs no explanation, a machine that almost fitted does.
    explained = [estimate for estimate in plan.rejected if "not allowed" not in _kind_of_reason(estimate)]
    shown = explained[: min(top, _MOST_EXPLAINED)]
    for estimate in shown:
        console.print(f"  {escape(estimate.offer.title)}: {escape(estimate.reason or '')}", style="dim")
    if len(explained) > len(shown):
        console.print("  ... --json has more of them, --why OFFER any one in full", style="dim")
    console.print()


def _kind_of_reason(estimate: Estimate) -> str:
    """The reason without its figures, so that equal ones can be counted."""
    return (estimate.reason or "").split(":")[0].split(" (")[0]
