"""`panic`: end every run that may be billed, and say of each whether it is gone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.errors import ExitCode, TeardownUnconfirmedError, UsageError
from manager.service.context import open_context

if TYPE_CHECKING:
    from manager.service.panic_report import PanicReport, PanicTargets, PanicUpdate


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
    from manager.service.panic_words import FOLDERS, found_text, price_text, target_text  # as above

    if found.ledger_error is not None:
        narrate(f"tunefare: error: {found.ledger_error.message}")
        narrate(FOLDERS)
    narrate(found_text(found))
    for target in found.targets:
        narrate(f"  {price_text(target)}  {target.run_id}  {target_text(target)}")


def _confirm() -> None:
    """Raises:
    UsageError: nobody can answer.
    typer.Abort: another word was typed.
    """
    from manager.service.panic_words import WORD  # as above

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
    from manager.service.panic_words import cost_text, verdict_lines  # as above

    for entry in report.entries:
        verdict, *commands = verdict_lines(entry)
        emit(f"{entry.run_id}  {cost_text(entry)}  {verdict}")
        for command in commands:
            emit(command)
