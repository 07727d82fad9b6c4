"""`report`: what runs cost and what they gained."""

from __future__ import annotations

from functools import partial
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
    svg: Annotated[Path | None, typer.Option("--svg", help="Write one picture: cost against a metric.")] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Write the same picture in pixels.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Compare by it: accuracy, f1_macro, roc_auc ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Cost against gain: metrics before and after, dollars, estimate against actual."""
    # The ledger's and the report's libraries: `--help` must not wait for them.
    from manager.service.reporting import FORMATS, build_reports, check_metric, reports_json, reports_renderable

    check_metric(metric)
    reports = build_reports(open_context(), runs or [])
    if as_json:
        emit_json(reports_json(reports, metric=metric))
    else:
        console().print(*reports_renderable(reports, metric=metric))
    for kind, what, file in (
        ("html", "report", html),
        ("csv", "table", csv),
        ("svg", "picture", svg),
        ("png", "picture", png),
    ):
        if file is not None:
            write_told(f"{what}:", file, partial(FORMATS[kind], reports, file, metric=metric))
    return ExitCode.DONE
