"""`data`: look at a data set, alone or as a run file has it: first samples, lengths, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manager.cli.output import console, emit_json
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context

_RUN_FILES = (".yaml", ".yml")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("data")(data)


def data(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Run file (.yaml), or data: file, folder, hub id, URI.")
    ] = str(DEFAULT_FILE),
    task: Annotated[str | None, typer.Option("--task", help="Of data alone; default: text-classification.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Of data alone: text=body,label=topic; names as in the run file.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Of data alone: folder or hub id whose tokenizer measures lengths.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, max=1000, help="Samples to show.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """First samples, number of rows, lengths and label balance of a data set. Free, and offline for local data."""
    # Neither YAML nor the workers' answers are needed by `--help`.
    from manager.cli.data_view import preview_to_json, print_preview
    from manager.service.data_preview import preview_data, spec_of_data
    from manager.service.starting import load_spec

    if Path(source).suffix.lower() in _RUN_FILES:
        if (task, columns, model) != (None, None, None):
            raise UsageError("a run file names task, columns and model itself", hint="leave the options out")
        spec = load_spec(Path(source))
    else:
        spec = spec_of_data(source, task=task or "text-classification", columns=_columns(columns), model=model)
    preview = preview_data(open_context(), spec, rows=rows)
    if as_json:
        emit_json(preview_to_json(preview))
    else:
        print_preview(preview, console())
    return ExitCode.DONE


def _columns(text: str | None) -> dict[str, str]:
    pairs = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    wrong = next((name for name, equals, value in pairs if not (name.strip() and equals and value.strip())), None)
    if wrong is not None:
        raise UsageError(f"{wrong!r} names no column", hint="for example --columns text=body,label=topic")
    return {name.strip(): value.strip() for name, _, value in pairs}
