"""Begin: write a run file, read a run file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from manager.errors import StateError, UsageError
from manager.spec.model import RunSpec
from manager.spec.reader import parse_spec, read_spec
from manager.spec.starter import example_values, starter_text


def write_run_file(file: Path, choices: dict[str, Any], *, example: str | None, force: bool) -> RunSpec:
    """Write a commented run file and give back what it says.

    Args:
        file: where to write; folders on the way are made.
        choices: dotted key to value, laid over the template or the example.
        example: name of an example whose model and data are installed packages, or None.
        force: whether an existing file may be written over.

    Raises:
        UsageError: the file exists.
        SpecError: the choices do not make a valid run file; nothing is written.
        StateError: the file cannot be written.
    """
    if file.exists() and not force:
        raise UsageError(f"{file} exists already", hint="name another file, or write over it with --force")
    text = starter_text({**(example_values(example) if example else {}), **choices})
    spec = parse_spec(text, name=str(file), folder=file.absolute().parent)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    except OSError as error:
        raise StateError(f"{file} cannot be written: {error.strerror}", hint="name a place you can write to") from error
    return spec


def load_spec(file: Path) -> RunSpec:
    """Read a run file; see `manager.spec.reader.read_spec`."""
    return read_spec(file)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file in one step, text as UTF-8: a reader (or a full disk) never sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content if isinstance(content, bytes) else content.encode())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
