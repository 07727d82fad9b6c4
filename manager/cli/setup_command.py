"""`init`, `doctor`, `config show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from manager.cli.output import console, emit_json, narrate, write_told
from manager.errors import UsageError
from manager.service.context import open_context

DEFAULT_FILE = Path("tunefare.yaml")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("doctor")(doctor)
    config = typer.Typer(help="Settings of this user.", no_args_is_help=True, rich_markup_mode=None)
    config.command("show")(config_show)
    app.add_typer(config, name="config")


def init(
    file: Annotated[Path, typer.Argument(help="Run file to write.")] = DEFAULT_FILE,
    model: Annotated[str | None, typer.Option(help="Hub id or folder.")] = None,
    data: Annotated[str | None, typer.Option(help="File, folder, hub id, s3:// or gs:// URI.")] = None,
    task: Annotated[str | None, typer.Option(help="text-classification, causal-lm, image-classification ...")] = None,
    method: Annotated[str | None, typer.Option(help="full, lora, qlora, frozen or gradual.")] = None,
    example: Annotated[str | None, typer.Option(help="A complete example: bbc-news.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a commented run file."""
    from manager.service.starting import write_run_file  # pydantic and YAML are not needed by the other commands

    choices: dict[str, Any] = {"model.source": model, "data.source": data, "task": task, "method.kind": method}
    given = {key: value for key, value in choices.items() if value}
    write_told("wrote", file, lambda: write_run_file(file, given, example=example, force=force))
    narrate(f"next: tunefare plan{'' if file == DEFAULT_FILE else f' {file}'}")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Check this machine: state folder, training libraries, device, SkyPilot, price catalogs."""
    from manager.service.doctor import examine  # asks SkyPilot, in a process of its own

    checks = examine(open_context())
    if as_json:
        emit_json(
            {
                "schema": 1,
                "checks": [{"name": c.name, "state": c.state, "detail": c.detail, "hint": c.hint} for c in checks],
            }
        )
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for check in checks:
            text = check.detail if not check.hint else f"{check.detail}\n{check.hint}"
            table.add_row(check.state, check.name, escape(text))
        console().print(table)
    if any(check.state == "error" for check in checks):
        raise UsageError("some checks failed", hint="the lines marked `error` say what to do")


def config_show(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Each setting with its value, where that came from, and its meaning."""
    context = open_context()
    if as_json:
        emit_json(
            {
                "schema": 1,
                "home": str(context.home.root),
                "settings": [
                    {
                        "name": value.setting.name,
                        "value": value.text,
                        "unit": value.setting.unit,
                        "origin": value.origin,
                        "default": value.setting.default,
                    }
                    for value in context.config.values
                ],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for title in ("setting", "value", "origin", "meaning"):
        table.add_column(title, overflow="fold")
    table.add_row("home", escape(str(context.home.root)), "TUNEFARE_HOME or default", "folder of all state")
    for value in context.config.values:
        setting = value.setting
        shown = f"{value.text or '(none)'} {setting.unit if setting.is_number else ''}".strip()
        table.add_row(setting.name, escape(shown), value.origin, setting.text)
    console().print(table)
    narrate(f"settings file: {context.home.config_file}")
