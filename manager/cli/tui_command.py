"""`tui`: the terminal application; the one place where the manager starts the screens."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from manager.cli.output import console, emit_json, narrate
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tui")(tui)


def tui(
    file: Annotated[
        Path | None, typer.Argument(help="Run file to open; without one the draft that was kept.", show_default=False)
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List the actions with their keys, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --keys: machine-readable.")] = False,
) -> int:
    """Plan, launch, watch and review without leaving the keyboard."""
    if keys:
        _list_keys(as_json=as_json)
        return ExitCode.DONE
    if as_json:
        raise UsageError("--json goes with --keys", hint="the commands print JSON: tunefare --help")
    # Textual draws on standard error, so that the screens stay out of a pipe.
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "the terminal application needs a terminal", hint="in a script use the commands: tunefare --help"
        )
    if file is not None and not file.is_file():
        raise UsageError(f"{file} is not a file", hint="write one with `tunefare init`, or start without a name")
    from manager.service.first_start import is_first_start
    from tui.app import TunefareApp  # Textual is loaded for the screens alone.
    from tui.terminal import find_background, trust_own_size

    trust_own_size(os.environ)
    context = open_context()
    is_asked = context.config.text("theme") in ("auto", "terminal")
    app = TunefareApp(
        context,
        file,
        background=find_background(os.environ) if is_asked else None,
        has_tour=file is None and is_first_start(context),
    )
    app.run()
    return app.return_code or ExitCode.DONE


def _list_keys(*, as_json: bool) -> None:
    from tui.actions import ACTIONS  # Textual is loaded for the screens alone.
    from tui.keymap import user_keys

    found = user_keys(open_context())
    actions = {action.id: action for action in ACTIONS}
    if as_json:
        emit_json(
            {
                "schema": 1,
                "actions": [
                    {
                        "id": row.action,
                        "keys": list(row.keys),
                        "default": list(row.default),
                        "origin": row.origin,
                        "text": actions[row.action].text,
                        "command": actions[row.action].command,
                    }
                    for row in found.rows
                ],
                "problems": [asdict(problem) for problem in found.problems],
            }
        )
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("action", "keys", "origin", "meaning", "command"):
            table.add_column(title, overflow="fold")
        for row in found.rows:
            action = actions[row.action]
            table.add_row(row.action, ", ".join(row.keys), row.origin, escape(action.text), action.command or "")
        console().print(table)
    for problem in found.problems:
        narrate(f"warning: {problem.message}\nhint: {problem.hint}")
