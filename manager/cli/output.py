"""Where words go: data to standard output, narration to standard error, colours only where wanted."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from tasks.plain_text import printable, printable_json
from tasks.redaction import redact

_DEFAULT_COLUMNS = 100
WIDE_COLUMNS = 120
"""From here on a table with several columns of text can be read; below, an entry takes lines of its own."""
_NARROWEST = 20
"""Columns beside a margin, however narrow the terminal is."""


def narrate(text: str) -> None:
    """A line to standard error, without secrets and without commands to the terminal."""
    sys.stderr.write(printable(redact(text)) + "\n")
    sys.stderr.flush()


def wrapped(text: str, *, margin: str) -> list[str]:
    """A line for standard error in lines of its terminal's width; as it is where that is none.

    Args:
        text: the line.
        margin: before the second line and those that follow.
    """
    if not sys.stderr.isatty():
        return [text]
    width = max(shutil.get_terminal_size().columns, len(margin) + _NARROWEST)
    return textwrap.wrap(text, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)


def emit(text: str) -> None:
    """A line to standard output, without commands to the terminal."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def emit_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON to standard output, one line when indent is None; NaN is refused."""
    emit(printable_json(json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)))


def write_told(what: str, file: Path, write: Callable[[], object]) -> None:
    """Write a file that was asked for, and say where it lies; also that its folder is new, where it had to be made."""
    is_new = not file.parent.exists()
    write()
    narrate(f"{what} {file}{f' (in the new folder {file.parent})' if is_new else ''}")


def console(*, to_stderr: bool = False) -> Console:
    """A console for tables on standard output (or error); without a terminal it is plain text of a fixed width."""
    stream = sys.stderr if to_stderr else sys.stdout
    # rich asks the terminal of any standard stream for its width; output sent into a file keeps a readable one.
    columns = shutil.get_terminal_size((_DEFAULT_COLUMNS, 24)).columns
    if not stream.isatty() and "COLUMNS" not in os.environ:
        columns = _DEFAULT_COLUMNS
    return _PipedConsole(file=stream, width=columns, highlight=False)


class _PipedConsole(Console):
    """A console that leaves it to `main` what a reader's early end (`| head`) means, and shows control characters."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError
