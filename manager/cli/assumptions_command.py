"""`assumptions`: every named figure that estimates rest on, and a file to change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manager.cli.output import console, emit_json, narrate, write_told
from manager.errors import ExitCode, UsageError
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from manager.service.assumptions import Selected

_OTHERS = "others"
"""Shown for the row of all clouds that have none of their own."""
_OWN = "own file"
_CLOUD_WIDTH, _DATE_WIDTH, _ORIGIN_WIDTH = 12, 10, 8


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("assumptions")(assumptions)


def assumptions(
    name: Annotated[str | None, typer.Argument(help="One assumption, such as boot; default: all of them.")] = None,
    cloud: Annotated[
        str | None, typer.Option("--cloud", help="What holds on this cloud, one row an assumption.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write a commented file of own assumptions to edit; never over another.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """What estimates take for granted: value, unit, date, source, origin; an own file overrides it."""
    context = open_context()
    if write:
        if name or cloud or as_json:
            raise UsageError("--write writes all assumptions", hint="give it alone")
        _write(context)
        return ExitCode.DONE
    # The planner's data are not needed by `--help`.
    from manager.service.assumptions import assumptions_file, select_assumptions

    rows = select_assumptions(context, name=name, cloud=cloud)
    file = assumptions_file(context)
    if as_json:
        emit_json(
            {"schema": 1, "file": str(file), "file_exists": file.exists(), "assumptions": [_json(row) for row in rows]}
        )
        return ExitCode.DONE
    _print(rows)
    narrate(f"own assumptions: {file}" if file.exists() else f"own assumptions: none; --write makes {file} to edit")
    return ExitCode.DONE


def _write(context: Context) -> None:
    from manager.service.assumptions import assumptions_file, write_assumptions

    write_told("wrote", assumptions_file(context), lambda: write_assumptions(context))
    narrate("next: uncomment what you want to change, then: tunefare assumptions")


def _print(rows: tuple[Selected, ...]) -> None:
    """A table for each name, all of the same widths; the unit stands beside the name."""
    from rich.markup import escape
    from rich.table import Table

    from manager.planner.assumptions import ANY_CLOUD, SHIPPED

    screen = console()
    values = [row.figure().removesuffix(f" {row.unit}") for _, row in rows]
    width = max(map(len, values))
    by_name: dict[str, Table] = {}
    for (cloud, row), value in zip(rows, values, strict=True):
        if row.name not in by_name:
            by_name[row.name] = table = Table(box=None, show_header=False, pad_edge=False, title_justify="left")
            table.title = f"[bold]{escape(row.name)}[/bold], {escape(row.unit)}"
            for fixed in (_CLOUD_WIDTH, width, _DATE_WIDTH, _ORIGIN_WIDTH):
                table.add_column(width=fixed, no_wrap=True)
            table.add_column(overflow="fold")
        origin = row.origin if row.origin == SHIPPED else _OWN
        shown = _OTHERS if cloud == ANY_CLOUD else cloud
        by_name[row.name].add_row(*map(escape, (shown, value, row.as_of, origin, row.source)))
    for table in by_name.values():
        screen.print(table)


def _json(item: Selected) -> dict[str, Any]:
    cloud, row = item
    return {
        "name": row.name,
        "cloud": cloud,
        "low": row.value.low,
        "expected": row.value.expected,
        "high": row.value.high,
        "unit": row.unit,
        "as_of": row.as_of or None,
        "source": row.source,
        "origin": row.origin,
    }
