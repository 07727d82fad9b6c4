"""The assumptions that hold for this user: the shipped table, and the own file over it where there is one."""

from __future__ import annotations

from pathlib import Path

from manager.errors import ConfigError, StateError, UsageError
from manager.planner.assumptions import Assumptions, shipped_assumptions
from manager.planner.own_assumptions import text_to_edit, with_own
from manager.service.context import Context


def assumptions_file(context: Context) -> Path:
    """Where the own assumptions lie or would lie: the setting `assumptions`, else the state folder."""
    return context.config.assumptions or context.home.assumptions_file


def read_assumptions(context: Context) -> Assumptions:
    """The table to plan with.

    Raises:
        ConfigError: the own file cannot be read, or says something that the table has no place for.
    """
    file = assumptions_file(context)
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if context.config.assumptions is None:
            return shipped_assumptions()
        raise ConfigError(
            f"assumptions file {file}, named by the setting `assumptions`, is not there",
            hint="write it with `tunefare assumptions --write`, or take the setting back",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"assumptions file {file} cannot be read: {error}", hint="mend it, or move it away"
        ) from error
    return with_own(shipped_assumptions(), text, file=str(file))


def write_assumptions(context: Context) -> Path:
    """Write the shipped table, commented out, where own assumptions are read; an existing file is never touched.

    Raises:
        UsageError: there is a file already.
        StateError: it cannot be written.
    """
    file = assumptions_file(context)
    if context.config.assumptions is None:
        context.home.ensure()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text_to_edit(shipped_assumptions()))
    except FileExistsError:
        raise UsageError(f"{file} exists already", hint="edit it, or move it away first") from None
    except OSError as error:
        raise StateError(f"{file} cannot be written: {error.strerror}", hint="choose another place") from error
    return file
