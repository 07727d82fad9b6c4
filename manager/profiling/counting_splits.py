"""Which split trains and how many samples the held-out shares leave, when files are counted without the libraries."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from manager.errors import DataError, how_to_install
from manager.spec.model import RunSpec


def training_split(spec: RunSpec, sizes: dict[str, int]) -> str:
    """Name of the split to train on.

    Args:
        spec: may name it.
        sizes: samples by split.

    Raises:
        DataError: it is not there, cannot be told from the others, or is empty.
    """
    name = _chosen(spec, sizes)
    if sizes[name] == 0:
        raise DataError(f"'{spec.data.source}' has no samples to train on", hint="check the file and training split")
    return name


def held_out(spec: RunSpec, sizes: dict[str, int], train_name: str) -> tuple[int, int, int]:
    """Samples of validation and test, and those left to train on.

    Raises:
        DataError: a split that is asked for is not there.
    """
    total = sizes[train_name]
    parts, held = [], 0
    for what, choice in (("validation", spec.data.validation), ("test", spec.data.test)):
        if isinstance(choice, str):
            if choice not in sizes:
                known = ", ".join(sizes)
                raise DataError(f"no split '{choice}' in '{spec.data.source}' for {what}", hint=f"splits are {known}")
            parts.append(sizes[choice])
        else:
            parts.append(round(choice * total))
            held += parts[-1]
    return parts[0], parts[1], total - held


def no_column(path: Path, column: str, row: dict[str, Any]) -> DataError:
    """The error for a column that a file does not have."""
    columns = [str(name) for name in row]
    near = difflib.get_close_matches(column, columns, n=1)
    suggestion = f"did you mean '{near[0]}'? " if near else ""
    return DataError(f"'{path}' has no column '{column}'", hint=f"{suggestion}columns are {', '.join(columns[:20])}")


def _chosen(spec: RunSpec, sizes: dict[str, int]) -> str:
    asked = spec.data.train_split
    if asked is not None:
        if asked not in sizes:
            raise DataError(f"no split '{asked}' in '{spec.data.source}'", hint=f"splits are {', '.join(sizes)}")
        return asked
    if "train" in sizes:
        return "train"
    if len(sizes) == 1:
        return next(iter(sizes))
    raise DataError(f"several files and none is called train in '{spec.data.source}'", hint="set data.train_split")


def install_hint(instead: str) -> str:
    """What to do about data that only the libraries read.

    Args:
        instead: what can be read without them: `a CSV or JSONL file` ...
    """
    return f"to have it read as the trainer reads it, {how_to_install('local')}; or give {instead}"
