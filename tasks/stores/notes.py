"""The state of an interrupted transfer, as a small file beside the local one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Note:
    """A JSON object on disk that a killed process leaves for the next one; readable for its owner alone.

    An upload session of Google's is a credential of its own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, identity: dict[str, str | int]) -> dict[str, Any] | None:
        """What was noted about this very transfer; None: nothing, something unreadable, or about another one."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or any(found.get(name) != value for name, value in identity.items()):
            return None
        return found

    def write(self, values: dict[str, Any]) -> None:
        """Replace what is noted, in one step."""
        aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file)
        aside.replace(self._path)

    def clear(self) -> None:
        """Nothing is under way."""
        self._path.unlink(missing_ok=True)


def upload_note(source: Path) -> Note:
    """Of a file that goes up."""
    return Note(source.with_name(f".{source.name}.upload.json"))


def download_note(target: Path) -> Note:
    """Of a file that comes down."""
    return Note(target.with_name(f".{target.name}.download.json"))


def partial_file(target: Path) -> Path:
    """Where a download grows until it is verified."""
    return target.with_name(f".{target.name}.partial")
