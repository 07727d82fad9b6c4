"""`plans` and `check`: plans that were saved, and run files that can be read."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from manager.cli.output import WIDE_COLUMNS, console, emit_json, narrate
from manager.errors import ExitCode, SpecError, UsageError
from manager.service.context import open_context
from manager.units import format_usd

if TYPE_CHECKING:
    from manager.service.saved_plans import SavedPlan


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("plans")(plans)
    app.command("check")(check)


def plans(
    prune: Annotated[bool, typer.Option("--prune", help="Delete all but the newest.")] = False,
    keep: Annotated[int | None, typer.Option("--keep", min=0, help="How many --prune leaves; 20.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, one line per plan, schema 1.")] = False,
) -> int:
    """Saved plans, newest first: `run --plan ID` launches one, `diff` compares two."""
    # The planner's libraries: `--help` must not wait for them.
    from manager.service.saved_plans import KEPT, prune_plans, saved_plans

    if keep is not None and not prune:
        raise UsageError("--keep is for --prune", hint="tunefare plans --prune --keep 20")
    context = open_context()
    if prune:
        gone = prune_plans(context, keep=20 if keep is None else keep)
        narrate(f"{len(gone)} saved plans deleted; what was launched stays in the ledger")
    found, damaged = saved_plans(context)
    for name in damaged:
        narrate(f"{context.home.plans_dir / name} is no plan that this tunefare reads")
    now_s = context.clock()
    if as_json:
        for plan in found:
            emit_json(_to_json(plan, now_s), indent=None)
        return ExitCode.DONE
    if not found:
        narrate("no saved plans")
        narrate("next: tunefare plan")
        return ExitCode.DONE
    _print(found, now_s)
    narrate(f"the newest {KEPT} are kept: --prune --keep N leaves fewer")
    return ExitCode.DONE


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Run files.")],
) -> int:
    """Read run files strictly and say what is wrong with them; nothing is planned."""
    from manager.service.starting import load_spec  # pydantic and YAML, only here

    is_bad = False
    for file in files:
        try:
            load_spec(file)
        except SpecError as error:
            is_bad = True
            narrate(f"tunefare: error: {error.message}")
            if error.hint:
                narrate(f"hint: {error.hint}")
    return ExitCode.USAGE if is_bad else ExitCode.DONE


def _print(found: tuple[SavedPlan, ...], now_s: float) -> None:
    from manager.planner.moved import age_text

    is_wide = console().width >= WIDE_COLUMNS
    table = Table(box=None, pad_edge=False)
    table.add_column("$ to finish", justify="right", no_wrap=True)
    table.add_column("plan", no_wrap=True)
    if is_wide:
        table.add_column("made (UTC)", no_wrap=True)
        table.add_column("name", overflow="fold")
        table.add_column("model", overflow="fold")
        table.add_column("prices", no_wrap=True)
        table.add_column("machine", overflow="fold")
    else:
        table.add_column("job, machine, when made (UTC)", overflow="fold")
    for plan in found:
        age_s = _age_s(plan, now_s)
        cost = format_usd(plan.expected_usd) if plan.machine else "-"
        made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(plan.created_at_s))
        prices = "unknown" if age_s is None else f"{age_text(age_s)} old"
        machine = plan.machine or "nothing could be chosen"
        cells = [made, plan.name, plan.model, prices, machine]
        if not is_wide:
            cells = [f"{plan.name}: {plan.model}\n{machine}\n{made}, prices {prices}"]
        table.add_row(cost, plan.plan_id, *map(escape, cells))
    console().print(table)


def _to_json(plan: SavedPlan, now_s: float) -> dict[str, Any]:
    values = {name: value for name, value in asdict(plan).items() if name not in ("question", "price_age_s")}
    for name in ("price_usd_per_hour", "expected_usd"):
        values[name] = None if values[name] is None else float(values[name])
    return {"schema": 1, "type": "saved_plan", **values, "price_age_s": _age_s(plan, now_s)}


def _age_s(plan: SavedPlan, now_s: float) -> float | None:
    """Of the prices by now."""
    return None if plan.price_age_s is None else plan.price_age_s + now_s - plan.created_at_s
