"""`panic`: end every run that may be billed, and say of each whether it is gone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.errors import ExitCode, TeardownUnconfirmedError, UsageError
from manager.service.context import open_context
from manager.units import format_usd

if TYPE_CHECKING:
    from manager.service.panic_report import PanicReport, PanicTarget, PanicTargets, PanicUpdate

WORD = "panic"
"""To be typed, so that no key pressed by mistake ends anything."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("panic")(panic)


def panic(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object, schema 1.")] = False,
) -> int:
    """End every run that may be billed at once, without checkpoints, and say of each whether it is gone."""
    # The ledger's and the engines' libraries: `--help` must not wait for them.
    from manager.service.panic import panic as end_all
    from manager.service.panic import panic_targets
    from manager.service.panic_report import PanicReport, panic_to_json

    context = open_context()
    found = panic_targets(context)
    report = PanicReport(entries=(), ledger_error=found.ledger_error)
    _tell_found(found)
    if found.targets:
        if not yes:
            _confirm()
        report = end_all(context, found, on_update=_tell)
    if as_json:
        emit_json(panic_to_json(report))
    else:
        _show(report)
    if report.unconfirmed:
        names = ", ".join(entry.run_id for entry in report.unconfirmed)
        raise TeardownUnconfirmedError(
            f"not confirmed to be gone: {names}: MAY STILL BE BILLED",
            hint="type the commands above, and look at the provider's console",
        )
    if report.ledger_error is not None:
        raise report.ledger_error
    return ExitCode.DONE


def _tell_found(found: PanicTargets) -> None:
    if found.ledger_error is not None:
        narrate(f"tunefare: error: {found.ledger_error.message}")
        narrate("looking for runs in their folders instead; machines of a run without a folder are not found")
    if not found.targets:
        narrate("no run was found that may be billed" if found.ledger_error else "nothing to end: no run may be billed")
        return
    unpriced = f", and {found.unpriced} of unknown price" if found.unpriced else ""
    count = len(found.targets)
    narrate(f"{count} {'run' if count == 1 else 'runs'} may be billed: {format_usd(found.usd_per_hour)}/h{unpriced}")
    for target in found.targets:
        narrate(f"  {_line(target)}")


def _line(target: PanicTarget) -> str:
    price = "unknown" if target.price_usd_per_hour is None else f"{format_usd(target.price_usd_per_hour)}/h"
    state = "state unknown" if target.state is None else str(target.state).replace("_", " ")
    client = "" if target.has_client or target.state is None else "; no process supervises it"
    machine = "" if target.machine is None else f" on {target.machine}"
    return f"{price}  {target.run_id}  {state}{machine}{client}"


def _confirm() -> None:
    """Raises:
    UsageError: nobody can answer.
    typer.Abort: another word was typed.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing is ended without a confirmation, and standard input is no terminal", hint="tunefare panic --yes"
        )
    typed = typer.prompt(f"all of them are ended now, without checkpoints; type {WORD}", err=True)
    if typed.strip() != WORD:
        raise typer.Abort


def _tell(update: PanicUpdate) -> None:
    narrate(f"  {update.run_id}: {update.text}")


def _show(report: PanicReport) -> None:
    from manager.service.panic import verdict_text  # as above

    for entry in report.entries:
        cost = "cost unknown" if entry.cost_usd is None else format_usd(entry.cost_usd)
        emit(f"{entry.run_id}  {cost}  {verdict_text(entry)}")
        for command in entry.commands:
            emit(f"    {command}")
