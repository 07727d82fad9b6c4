"""Run files to choose from: YAML files below a folder that look like one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SUFFIXES = (".yaml", ".yml")
_DEPTH = 3
_MOST_FOLDERS = 2000
_READ_BYTES = 20_000
_SCHEMA = re.compile(r"^schema:\s*\d+", re.MULTILINE)
_MODEL = re.compile(r"^model:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFileHit:
    """One file that may be a run file."""

    file: Path
    changed_at_s: float
    """Unix time in seconds."""


def run_files(folder: Path, *, limit: int = 200) -> tuple[RunFileHit, ...]:
    """Run files in a folder and at most three levels down, the newest first; hidden folders are left out."""
    hits = [hit for file in _yaml_files(folder.expanduser().absolute()) if (hit := _hit(file)) is not None]
    hits.sort(key=lambda hit: (-hit.changed_at_s, str(hit.file)))
    return tuple(hits[:limit])


def _yaml_files(root: Path) -> Iterator[Path]:
    for seen, (place, folders, files) in enumerate(os.walk(root)):
        yield from (Path(place) / name for name in sorted(files) if Path(name).suffix.lower() in _SUFFIXES)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        if len(Path(place).relative_to(root).parts) >= _DEPTH:
            folders.clear()
        if seen >= _MOST_FOLDERS:
            return


def _hit(file: Path) -> RunFileHit | None:
    """The file, if its beginning has the keys that every run file has."""
    try:
        with file.open("rb") as stream:
            text = stream.read(_READ_BYTES).decode("utf-8", errors="replace")
        changed_at_s = file.stat().st_mtime
    except OSError:
        return None
    return RunFileHit(file=file, changed_at_s=changed_at_s) if _SCHEMA.search(text) and _MODEL.search(text) else None
