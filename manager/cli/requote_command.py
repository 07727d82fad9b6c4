"""`requote`: the quote that a run's probe renewed, and the answer to its question whether it goes on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context

if TYPE_CHECKING:
    from manager.runs.requote_rows import RequoteRow


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("requote")(requote)


def requote(
    run: Annotated[str, typer.Argument(help="Id of the run, or its unique beginning.")],
    go_on: Annotated[bool, typer.Option("--go-on", help="It asks: let it go on.")] = False,
    end: Annotated[bool, typer.Option("--end", help="It asks: end it, with a checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """The quote that a run's probe renewed, and the answer to its question whether it goes on."""
    from manager.service.requotes import answer_requote, renewed_quote  # The ledger's libraries: `--help` is fast.

    if go_on and end:
        raise UsageError("--go-on and --end are two answers", hint="give one of them")
    context = open_context()
    if go_on or end:
        answer_requote(context, run, goes_on=go_on)
    run_id, rows = renewed_quote(context, run)
    if as_json:
        emit_json({"schema": 1, "run_id": run_id, "rows": [{**asdict(row), "step": str(row.step)} for row in rows]})
        return ExitCode.DONE
    for line in _lines(rows):
        emit(line)
    return ExitCode.DONE


def _lines(rows: tuple[RequoteRow, ...]) -> list[str]:
    from manager.reports.wording import plain  # as above

    if not rows:
        return ["no probe has renewed its quote"]
    return [f"{row.step!s:<9} {plain(row.text)}" for row in rows]
