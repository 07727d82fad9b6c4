"""The log of a task on another machine, written at home line by line while it is streamed."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from manager.launch.engine import LOG_FILE, Engine

_WRITES_ITSELF = "local"
"""Engine whose task writes its log into the run's folder itself."""


class StreamedLog:
    """`log.txt` of the run's folder until the whole log is fetched; nothing for a task that writes it itself.

    A stream begins with the first line of the task whenever it is opened, so the file begins anew with it.
    """

    def __init__(self, run_dir: Path, engine: Engine) -> None:
        self._path = run_dir / LOG_FILE
        self._active = engine.name != _WRITES_ITSELF
        self._file: TextIO | None = None

    def write(self, line: str) -> str | None:
        """Append a line, for everybody to see at once; once, why no line can be written from now on."""
        if not self._active:
            return None
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("w", encoding="utf-8", errors="replace", buffering=1)
            self._file.write(line + "\n")
        except OSError as error:
            # The run goes on: its events are stored elsewhere, and the whole log is fetched at its end.
            self.close()
            return f"the log cannot be written to {self._path}: {error.strerror}"
        return None

    def close(self) -> None:
        """Write no more; before the whole log is fetched."""
        self._active = False
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return  # What a full disk kept in the buffer is fetched with the rest.
