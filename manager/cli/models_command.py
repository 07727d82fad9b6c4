"""`models`: models to choose from, by words."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from manager.cli.output import console, emit_json, narrate
from manager.errors import ExitCode


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models)


def models(
    words: Annotated[
        list[str] | None, typer.Argument(help="Words of the name, or a published one: llama 3 8b.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only models that can be tuned for it.")] = None,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", help="Look for models in this folder too; again for more.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The first of them.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Models to write as model.source: the shipped table, the hub's cache, folders; asks no network."""
    from manager.service.model_search import search_models, size_text  # The table of models is read when it is needed.

    found = search_models(" ".join(words or ()), task=task, folders=tuple(folder or ()), limit=limit)
    if as_json:
        emit_json({"schema": 1, "models": [asdict(hit) for hit in found]})
        return ExitCode.DONE
    if not found:
        narrate("no model has these words\nhint: a hub id or a folder that is not listed can be planned as well")
        return ExitCode.DONE
    table = Table(box=None, pad_edge=False)
    for title in ("model", "size", "tasks"):
        table.add_column(title, overflow="fold")
    table.add_column("from", no_wrap=True)
    for hit in found:
        table.add_row(escape(hit.name), size_text(hit), ", ".join(hit.tasks), hit.source)
    console().print(table)
    return ExitCode.DONE
