"""`fetch`: what a run has in its bucket, brought home."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from manager.cli.output import console, emit, emit_json, narrate
from manager.cli.runs_command import RunArgument
from manager.errors import ExitCode
from manager.service.context import open_context


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fetch")(fetch)


def fetch(
    run: RunArgument, as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False
) -> int:
    """Bring events, tuned model or newest checkpoint of a run home from its bucket; goes on where it was cut."""
    from manager.service.fetching import fetch_run, fetched_to_json  # the ledger's libraries, only here

    with _progress() as on_progress:
        fetched = fetch_run(open_context(), run, on_progress=on_progress)
    if as_json:
        emit_json(fetched_to_json(fetched))
    else:
        narrate(f"brought home: {fetched.brought.words}" if fetched.brought.words else "all of it is here already")
        emit(str(fetched.run_dir))
    return ExitCode.DONE


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar for the file at hand, on a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # where there is a bar to draw

    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console(to_stderr=True)) as bars:
        bar = bars.add_task("fetch")

        def show(done_bytes: int, of_bytes: int) -> None:
            bars.update(bar, completed=done_bytes, total=of_bytes)

        yield show
