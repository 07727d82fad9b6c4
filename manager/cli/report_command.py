"""`report`: what runs cost and what they gained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manager.cli.output import console, emit_json, write_told
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
    # The ledger's and the report's libraries: `--help` must not wait for them.
    from manager.service.reporting import build_reports, reports_json, reports_renderable, write_csv, write_html

    reports = build_reports(open_context(), runs or [])
    if as_json:
        emit_json(reports_json(reports))
    else:
        console().print(*reports_renderable(reports))
    if html is not None:
        write_told("report:", html, lambda: write_html(reports, html))
    if csv is not None:
        write_told("table:", csv, lambda: write_csv(reports, csv))
    return ExitCode.DONE
