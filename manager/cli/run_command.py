"""`run`: show the plan, ask, launch, stream, tear down, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from manager.cli.output import console, emit, emit_json, narrate
from manager.cli.plan_command import CatalogsOption, FileArgument, MaxUsdOption, OnOption, parse_usd
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    file: FileArgument = DEFAULT_FILE,
    on: OnOption = None,
    max_usd: MaxUsdOption = None,
    catalogs: CatalogsOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needs --max-usd.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report to this HTML file.")] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Print the SkyPilot task instead of launching it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, schema 1.")] = False,
) -> int:
    """Plan, ask, launch, stream metrics and dollars, tear down, and report."""
    # The planner's and the ledger's libraries: `--help` must not wait for them.
    from manager.cli.live_view import LiveView
    from manager.cli.plan_view import print_plan
    from manager.service.planning import narrowed, plan_job, why_nothing
    from manager.service.reporting import report_json, report_text, write_html
    from manager.service.running import launch, render_plan
    from manager.service.starting import load_spec

    cap = parse_usd(max_usd)
    if yes and cap is None and not render:
        raise UsageError("--yes needs --max-usd", hint="say what the run may cost: --yes --max-usd 5")
    context = open_context()
    made = plan_job(context, narrowed(load_spec(file), on=on, max_usd=cap), catalogs=catalogs)
    if made.chosen is None:
        if not as_json:
            print_plan(made, console(), top=5)
        raise why_nothing(made)
    if render:
        emit(render_plan(context, made))
        return ExitCode.DONE
    if not as_json:
        print_plan(made, console(), top=5)
    cap = made.spec.budget.max_usd
    if not yes:
        _confirm(made.choice is not None, cap is not None)
    view = LiveView(plan=made, as_json=as_json)
    outcome = launch(context, made, cap_usd=cap, on_update=view.update)
    if as_json:
        emit_json({"schema": 1, "type": "report", "report": report_json(context, outcome.run_id)}, indent=None)
    else:
        emit(report_text(context, [outcome.run_id], width=console().width))
    if html is not None:
        write_html(context, [outcome.run_id], html)
        narrate(f"report: {html}")
    return outcome.exit_code
