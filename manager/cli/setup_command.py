"""`init`, `doctor`, `config show`, `config set`, `config unset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from manager.cli.output import WIDE_COLUMNS, console, emit, emit_json, narrate, write_told
from manager.errors import UsageError
from manager.service.context import open_context

if TYPE_CHECKING:
    from manager.service.settings import ChangedSetting, SettingState

DEFAULT_FILE = Path("tunefare.yaml")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("doctor")(doctor)
    config = typer.Typer(help="Settings of this user.", no_args_is_help=True, rich_markup_mode=None)
    config.command("show")(config_show)
    # A value may begin with a minus: what is wrong with it the setting says.
    config.command("set", context_settings={"ignore_unknown_options": True})(config_set)
    config.command("unset")(config_unset)
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
    from manager.service.settings import settings  # the edits that stand beside it are not needed by other commands

    context = open_context()
    states = settings(context)
    if as_json:
        emit_json({"schema": 1, "home": str(context.home.root), "settings": [_setting_json(state) for state in states]})
        return
    rows = [("home", str(context.home.root), "TUNEFARE_HOME or default", "folder of all state")]
    rows += [(state.name, state.shown, state.origin, state.meaning) for state in states]
    if console().width >= WIDE_COLUMNS:
        table = Table(box=None, pad_edge=False)
        for title in ("setting", "value", "origin", "meaning"):
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console().print(table)
    else:
        for name, value, origin, meaning in rows:
            console().print(f"[bold]{name}[/bold] = {escape(value)} ({origin})")
            console().print(Padding(escape(meaning), (0, 0, 0, 4), expand=False))
    narrate(f"settings file: {context.home.config_file}")


def config_set(
    name: Annotated[str, typer.Argument(help="Setting; `tunefare config show` lists them.")],
    value: Annotated[str, typer.Argument(help="Value in the setting's unit.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Write one setting into the settings file; comments in it stay."""
    from manager.service.settings import set_setting  # the TOML writer is not needed by other commands

    _tell_change(set_setting(open_context(), name, value), as_json=as_json)


def config_unset(
    name: Annotated[str, typer.Argument(help="Setting; `tunefare config show` lists them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Take one setting out of the settings file: its default holds again."""
    from manager.service.settings import unset_setting  # the TOML writer is not needed by other commands

    _tell_change(unset_setting(open_context(), name), as_json=as_json)


def _tell_change(changed: ChangedSetting, *, as_json: bool) -> None:
    state = changed.state
    if as_json:
        emit_json({"schema": 1, "setting": _setting_json(state), "note": changed.note})
    else:
        emit(f"{state.name} = {state.shown} ({state.origin})")
    if changed.note:
        narrate(f"note: {changed.note}")


def _setting_json(state: SettingState) -> dict[str, Any]:
    return {
        "name": state.name,
        "value": state.value,
        "unit": state.unit,
        "origin": state.origin,
        "default": state.default,
        "choices": list(state.choices),
    }
