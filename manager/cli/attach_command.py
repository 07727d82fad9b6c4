"""Runs that other processes supervise: start one so (`run --detach`), follow one (`attach`)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.cli.run_end import report_end
from manager.cli.runs_command import RunArgument
from manager.errors import ExitCode, InterruptedRunError
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from manager.planner.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("attach")(attach)


def attach(
    run: RunArgument,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report to this HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, as of `run --json`.")] = False,
) -> int:
    """Follow a run that another process supervises, to its report; Ctrl-C leaves it alone."""
    # The ledger's and the planner's libraries: `--help` must not wait for them.
    from manager.cli.live_view import LiveView
    from manager.service.attaching import follow_run
    from manager.service.inspection import find_run
    from manager.service.planning import plan_to_json

    context = open_context()
    record = find_run(context, run)
    if as_json:
        emit_json({"schema": 1, "type": "plan", "plan": plan_to_json(record.plan)}, indent=None)
    try:
        with LiveView(steps=record.plan.profile.steps, as_json=as_json) as view:
            followed = follow_run(context, record.run_id, on_update=view.update)
    except (KeyboardInterrupt, InterruptedRunError):
        narrate(f"no longer following {record.run_id}, which goes on")
        _tell_next(record.run_id)
        return ExitCode.INTERRUPTED
    exit_code, error = followed.exit_code, followed.error
    return report_end(context, record.run_id, exit_code=exit_code, error=error, html=html, as_json=as_json)


def run_detached(context: Context, plan: Plan, *, cap_usd: Decimal | None, as_json: bool) -> int:
    """Launch a plan that was confirmed in a process of its own; prints the run's id."""
    from manager.cli.transfer_line import TransferLine  # the ledger's and the engines' libraries, only here
    from manager.runs.updates import TransferUpdate, Update
    from manager.service.detached import start_detached

    line = TransferLine()

    def tell(update: Update) -> None:
        if not as_json and isinstance(update, TransferUpdate) and (text := line.text(update)):
            line.write(text)

    run_id = start_detached(context, plan, cap_usd=cap_usd, on_update=tell)
    line.end_line()
    if as_json:
        emit_json({"schema": 1, "type": "detached", "run_id": run_id, "plan_id": plan.plan_id}, indent=None)
        return ExitCode.DONE
    emit(run_id)
    narrate("a process of its own supervises the run; this terminal may be closed")
    _tell_next(run_id)
    return ExitCode.DONE


def _tell_next(run_id: str) -> None:
    narrate(f"next: tunefare attach {run_id}, or tunefare stop {run_id}")
