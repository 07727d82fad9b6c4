"""`panic`: end every run that may be billed, and say of each whether it is gone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.errors import ExitCode, TeardownUnconfirmedError, UsageError
from manager.service.context import Context, open_context_anyway

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
    from manager.service.panic_orphans import asks_providers
    from manager.service.panic_report import PanicReport, panic_to_json
    from manager.service.panic_words import ASKS_PROVIDERS, NOBODY_TO_ASK

    context, config_error = open_context_anyway()
    if config_error is not None:
        narrate(f"tunefare: error: {config_error.message}")
        narrate("It goes on with the default settings: runs of a shared ledger that the settings name are not found.")
    found = panic_targets(context)
    report = PanicReport(entries=(), ledger_error=found.ledger_error)
    _tell_found(found)
    asks = asks_providers(context)
    if asks:
        narrate(ASKS_PROVIDERS)
    elif found.ledger_error or config_error:
        narrate(NOBODY_TO_ASK)
    if found.targets or (asks and (yes or _look(context))):
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
    if (error := report.ledger_error or config_error) is not None:
        raise TeardownUnconfirmedError(
            "the runs that only the ledger knows were not looked for: they MAY STILL BE BILLED", hint=error.hint
        )
    return ExitCode.DONE


def _tell_found(found: PanicTargets) -> None:
    from manager.service.panic_words import FOLDERS, found_text, price_text, target_text  # as above

    if found.ledger_error is not None:
        narrate(f"tunefare: error: {found.ledger_error.message}")
        narrate(FOLDERS)
    narrate(found_text(found))
    for target in found.targets:
        narrate(f"  {price_text(target)}  {target.run_id}  {target_text(target)}")


def _look(context: Context) -> bool:
    """Whether the providers have, or may have, something to end; told before anybody is asked to confirm it."""
    from manager.service.panic_orphans import find_orphans  # as above

    found = find_orphans(context)
    for item in found.machines_without_run:
        narrate(f"  {item.rented.told}: {item.rented.name}, of {item.rented.run_told}, which no run uses")
    for place in found.silent_of_runs:
        narrate(f"  {place} did not answer: {found.silent[place]}")
    return bool(found.machines_without_run or found.silent_of_runs)


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
