"""`plan`: what the job would cost on every machine."""

from __future__ import annotations

import dataclasses
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from manager.cli.output import console, emit_json, narrate
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context

DEFAULT_TOP = 10

FileArgument = Annotated[Path, typer.Argument(help="Run file.")]
OnOption = Annotated[
    str | None, typer.Option("--on", help="local, slurm, aws, gcp, ... or cheapest (the default: all of them).")
]
CatalogsOption = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of price catalogs in SkyPilot's layout.")
]
MaxUsdOption = Annotated[str | None, typer.Option("--max-usd", help="Cap on the whole run, in dollars.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan)


def plan(
    file: FileArgument = DEFAULT_FILE,
    on: OnOption = None,
    max_usd: MaxUsdOption = None,
    catalogs: CatalogsOption = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="How many offers to show; 10, and all of them with --json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Estimate memory, hours and dollars on every offer. Free, offline, no account needed."""
    # The planner's libraries cost 0.3 s to load: `--help` must not wait for them.
    from manager.cli.plan_view import print_plan
    from manager.service.planning import can_run, explain_no_choice, narrowed, plan_job, plan_to_json
    from manager.service.starting import load_spec

    context = open_context()
    spec = narrowed(load_spec(file), on=on, max_usd=parse_usd(max_usd))
    made = plan_job(context, spec, catalogs=catalogs, tell=None if as_json else narrate)
    if as_json:
        shown = dataclasses.replace(made, offers=made.offers[:top], rejected=made.rejected[:top])
        totals = {"offers_total": len(made.offers), "rejected_total": len(made.rejected)}
        emit_json({**plan_to_json(shown), **totals})
    else:
        print_plan(made, console(), top=top or DEFAULT_TOP)
        if made.choice is not None and can_run(spec):
            narrate(f"next: tunefare run {file}")
    if made.chosen is None:
        raise explain_no_choice(made)
    return ExitCode.DONE


def parse_usd(text: str | None) -> Decimal | None:
    """Dollars from the command line.

    Raises:
        UsageError: not a number.
    """
    if text is None:
        return None
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation as error:
        raise UsageError(f"{text!r} is not an amount in dollars", hint="give a number, such as 2.50") from error
