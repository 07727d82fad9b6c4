"""One transfer as a line: a bar that is drawn over itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from manager.cli.output import narrate
from manager.runs.updates import TransferUpdate
from manager.service.transfer_words import transfer_share, transfer_words
from tasks.plain_text import printable
from tasks.redaction import redact

_BAR = 24
_EVERY_S = 10.0
"""Between two lines where there is no terminal."""


class TransferLine:
    """Words and drawing of transfers; `text` and `write` may be called from different threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, is_terminal: bool | None = None) -> None:
        self._clock = clock
        self._is_terminal = sys.stderr.isatty() if is_terminal is None else is_terminal
        self._told_at_s = -_EVERY_S
        self._drawn = 0

    def text(self, update: TransferUpdate) -> str | None:
        """`data -> s3://runs  [######......]  1.2 GiB of 2.4 GiB  50 %  85 MiB/s  14 s left`; None: not now."""
        now_s = self._clock()
        is_done = update.done_bytes >= update.of_bytes
        if not self._is_terminal and not is_done and now_s - self._told_at_s < _EVERY_S:
            return None
        self._told_at_s = now_s
        full = round(transfer_share(update) * _BAR)
        bar = f"[{'#' * full}{'.' * (_BAR - full)}]"
        return f"  {update.what} -> {update.to}  {bar}  {transfer_words(update)}"

    def write(self, text: str) -> None:
        """Draw it over the one before."""
        if not self._is_terminal:
            narrate(text)
            return
        clean = printable(redact(text))
        sys.stderr.write("\r" + clean.ljust(self._drawn))
        sys.stderr.flush()
        self._drawn = len(clean)

    def end_line(self) -> None:
        """Before something else is written."""
        if self._drawn:
            sys.stderr.write("\n")
            self._drawn = 0
