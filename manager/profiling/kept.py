"""JSON files of the cache: written aside and renamed, so that a reader sees all of it or nothing.

A file that cannot be read counts as missing, and one that cannot be written is not kept: no plan depends on the cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def read_kept(file: Path) -> Json | None:
    """The object in the file; None when there is none that can be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def keep(file: Path, content: Json) -> None:
    """Write the file, with its folder, if that can be done."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name.partition('-')[0]}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(content, stream, ensure_ascii=False, separators=(",", ":"))
            Path(aside).replace(file)
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise
