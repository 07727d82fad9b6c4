"""`run`: show the plan, ask, launch, stream, tear down, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import console, emit, emit_json, narrate, write_told
from manager.cli.plan_command import CatalogsOption, FileArgument, MaxUsdOption, OnOption, parse_usd
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, TunefareError, UsageError
from manager.service.context import Context, open_context
from manager.units import format_usd

if TYPE_CHECKING:
    from manager.planner.plan import Plan


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
    render: Annotated[bool, typer.Option("--render", help="Print the SkyPilot task instead of launching it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, schema 1.")] = False,
) -> int:
    """Plan, ask, launch, stream metrics and dollars, tear down, and report."""
    # The planner's and the ledger's libraries: `--help` must not wait for them.
    from manager.cli.live_view import LiveView
    from manager.cli.plan_view import print_plan
    from manager.service.planning import explain_no_choice, narrowed, plan_job, plan_to_json
    from manager.service.running import launch, render_plan
    from manager.service.starting import load_spec

    cap = parse_usd(max_usd)
    if yes and cap is None and not render:
        raise UsageError("--yes needs --max-usd", hint="say what the run may cost: --yes --max-usd 5")
    context = open_context()
    spec = narrowed(load_spec(file), on=on, max_usd=cap)
    made = plan_job(context, spec, catalogs=catalogs, tell=None if as_json else narrate)
    if made.chosen is None:
        if not as_json:
            print_plan(made, console(), top=5)
        raise explain_no_choice(made)
    if render:
        emit(render_plan(context, made))
        narrate(
            "used by hand with `sky launch`, ledger, teardown and the cap at home are yours; the task keeps its own"
        )
        return ExitCode.DONE
    if as_json:
        emit_json({"schema": 1, "type": "plan", "plan": plan_to_json(made)}, indent=None)
    if not yes or not as_json:
        print_plan(made, console(to_stderr=as_json), top=5)
    cap = made.spec.budget.max_usd
    if not yes:
        _confirm(made)
    with LiveView(steps=made.profile.steps, as_json=as_json) as view:
        outcome = launch(context, made, cap_usd=cap, on_update=view.update)
    try:
        _report(context, outcome.record.run_id, html=html, as_json=as_json)
    except TunefareError as error:
        # How the run ended matters more than a report that cannot be written.
        if outcome.error is None:
            raise
        narrate(f"tunefare: error: {error.message}")
    if outcome.error is not None:
        raise outcome.error
    return outcome.exit_code


def _report(context: Context, run_id: str, *, html: Path | None, as_json: bool) -> None:
    # The report's libraries: `--help` must not wait for them.
    from manager.service.reporting import build_reports, report_to_json, reports_renderable, write_html

    reports = build_reports(context, [run_id])
    if as_json:
        emit_json({"schema": 1, "type": "report", "report": report_to_json(reports[0])}, indent=None)
    else:
        console().print(*reports_renderable(reports))
    if html is not None:
        write_told("report:", html, lambda: write_html(reports, html))


def _confirm(plan: Plan) -> None:
    """Ask before anything costs.

    Raises:
        UsageError: nobody can answer.
        typer.Abort: the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing is launched without a confirmation, and standard input is no terminal",
            hint="confirm on the command line: --yes --max-usd 5",
        )
    cap = plan.spec.budget.max_usd
    worst = f"cap {format_usd(cap)}" if cap is not None else "no cap: set one with --max-usd"
    expected = plan.choice.cost_usd.expected if plan.choice and plan.choice.cost_usd else None
    typer.confirm(f"launch, {format_usd(expected)} expected, {worst}?", default=False, abort=True, err=True)
