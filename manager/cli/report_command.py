"""`report`: what runs cost and what they gained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manager.cli.output import console, emit, emit_json, narrate
from manager.errors import ExitCode
from manager.service.context import open_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    runs: Annotated[list[str] | None, typer.Argument(help="Run ids or their beginnings; none: the latest run.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained HTML file.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write one row per run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Cost against gain: metrics before and after, dollars, estimate against actual."""
    from manager.service.reporting import reports_json, report_text, write_csv, write_html  # the ledger's libraries

    context = open_context()
    if as_json:
        emit_json(reports_json(context, runs or []))
    else:
        emit(report_text(context, runs or [], width=console().width))
    if html is not None:
        write_html(context, runs or [], html)
        narrate(f"report: {html}")
    if csv is not None:
        write_csv(context, runs or [], csv)
        narrate(f"table: {csv}")
    return ExitCode.DONE
