"""A run's log as it grows: each line once, without the event lines, also when the file is replaced by another one.

Programs of others wrote it: what is read has no secret of this process in it, and no command to a terminal.
"""

from __future__ import annotations

import os
from pathlib import Path

from tasks.plain_text import log_text
from tasks.protocol import EVENT_PREFIX
from tasks.redaction import LineRedactor, own_redactor

_EVENT = EVENT_PREFIX.encode()


class LogFile:
    """What the training program and the machine printed, from where the last read ended."""

    def __init__(self, path: Path, *, most_bytes: int | None = None) -> None:
        """`most_bytes`: of a file that is longer, the first read begins so far before its end; None: with its
        beginning."""
        self._path = path
        self._most_bytes = most_bytes
        self._position = 0
        self._inode: int | None = None
        self._redactor = LineRedactor(own_redactor())

    def read(self, *, to_end: bool) -> list[str]:
        """New lines; with to_end also a last one that has no line end yet. A file that is not there has none."""
        try:
            log = self._path.open("rb")
        except FileNotFoundError:
            return []
        with log:
            # The log as streamed is replaced by the machine's own: another file is told from its beginning.
            facts = os.fstat(log.fileno())
            is_torn = False
            if facts.st_ino != self._inode or facts.st_size < self._position:
                self._inode = facts.st_ino
                self._position = 0 if self._most_bytes is None else max(0, facts.st_size - self._most_bytes)
                is_torn = self._position > 0
            log.seek(self._position)
            chunk = log.read()
        whole = chunk if to_end else chunk[: chunk.rfind(b"\n") + 1]
        self._position += len(whole)
        # Only "\n" ends a line: `splitlines` would also cut at separators inside a text.
        lines = whole.removesuffix(b"\n").split(b"\n") if whole else []
        texts = (line.decode("utf-8", "replace") for line in lines[is_torn:] if not line.startswith(_EVENT))
        return [self._redactor.line(log_text(text)) for text in texts]
