"""`ledger`: bring runs from this machine's ledger into one that people share."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.output import emit_json, narrate
from manager.errors import ExitCode
from manager.service.context import open_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    ledger = typer.Typer(no_args_is_help=True, help="The ledger itself.")
    ledger.callback()(lambda: None)
    ledger.command("copy")(copy)
    app.add_typer(ledger, name="ledger")


def copy(
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="postgresql://user@host/database; default: ledger_url.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Copy the runs of this machine's ledger that are over to a server; those that are there stay as they are."""
    from manager.service.ledger_copy import copy_ledger  # the ledger's libraries: `--help` must not wait for them

    found = copy_ledger(open_context(), to)
    if as_json:
        parts = {"copied": found.copied, "present": found.present, "not_over": found.not_over}
        emit_json({"schema": 1, **{name: list(runs) for name, runs in parts.items()}})
        return ExitCode.DONE
    narrate(f"{len(found.copied):,} runs copied, {len(found.present):,} were there")
    if found.not_over:
        narrate(f"not over yet, and not copied: {', '.join(found.not_over)}")
    return ExitCode.DONE
