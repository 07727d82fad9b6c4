"""`tui`: the terminal application; the one place where the manager starts the screens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from manager.errors import ExitCode, UsageError
from manager.service.context import open_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tui")(tui)


def tui(
    file: Annotated[
        Path | None, typer.Argument(help="Run file to open; without one the draft that was kept.", show_default=False)
    ] = None,
) -> int:
    """Plan, launch, watch and review without leaving the keyboard."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the terminal application needs a terminal", hint="in a script use the commands: tunefare --help"
        )
    if file is not None and not file.is_file():
        raise UsageError(f"{file} is not a file", hint="write one with `tunefare init`, or start without a name")
    from tui.app import TunefareApp  # Textual is loaded for the screens alone.

    app = TunefareApp(open_context(), file)
    app.run()
    return app.return_code or ExitCode.DONE
