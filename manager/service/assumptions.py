"""The assumptions that hold for this user: the shipped table, and the own file over it where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from manager.errors import ConfigError, StateError, UsageError
from manager.planner.assumptions import ANY_CLOUD, AssumedQuantity, Assumptions, shipped_assumptions
from manager.planner.own_assumptions import CLOUDS_WITHOUT_ROWS, text_to_edit, with_own
from manager.service.context import Context
from manager.service.known_names import check_names


class Selected(NamedTuple):
    """One row, and the cloud that it stands for in the table."""

    cloud: str
    """`*`: all that have no row of their own."""
    row: AssumedQuantity


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


def select_assumptions(context: Context, *, name: str | None, cloud: str | None) -> tuple[Selected, ...]:
    """The rows that hold, by name and then cloud; with a cloud, the one row of each name that holds there.

    Raises:
        ConfigError: as `read_assumptions`.
        UsageError: nobody knows the name or the cloud.
    """
    table = read_assumptions(context)
    check_names("assumption", [] if name is None else [name], set(table.names))
    clouds = {of for _, of in table.rows if of != ANY_CLOUD} | CLOUDS_WITHOUT_ROWS
    check_names("cloud", [] if cloud is None else [cloud], clouds)
    names = table.names if name is None else (name.lower(),)
    if cloud is not None:
        found = ((one, table.of(one, cloud.lower())) for one in names)
        return tuple(
            Selected(cloud.lower() if (one, cloud.lower()) in table.rows else ANY_CLOUD, row) for one, row in found
        )
    return tuple(Selected(of, row) for one in names for (row_name, of), row in table.rows.items() if row_name == one)


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
