"""Errors that nobody foresaw, as the error that a user is shown, with their details in a file."""

from __future__ import annotations

import platform
import time
import traceback
from pathlib import Path

from manager import __version__
from manager.errors import InternalError, TunefareError
from manager.service.context import Context
from tasks.plain_text import printable
from tasks.redaction import redact

DEBUG_VARIABLE = "TUNEFARE_DEBUG"
"""Set by `--debug`: tracebacks are shown."""
_KEPT = 20
"""Files of details; the oldest go first."""


def internal_error(error: BaseException) -> TunefareError:
    """A defect of tunefare as a sentence, with what to do; the exception is its cause."""
    told = InternalError(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a defect of tunefare; run again with `tunefare --debug ...` and report what it prints",
    )
    told.__cause__ = error
    return told


def error_text(error: TunefareError) -> str:
    """`error: ...`, and its hint in a line of its own, where there is one."""
    told = f"error: {error.message}\nhint: {error.hint}" if error.hint else f"error: {error.message}"
    return printable(redact(told))


def details_of(error: BaseException) -> str:
    """What a report of the error should say: versions, message, and where it happened."""
    lines = [f"tunefare {__version__}, Python {platform.python_version()}, {platform.platform()}", ""]
    if isinstance(error, TunefareError):
        lines += [error_text(error), ""]
    return redact("\n".join(lines) + "".join(traceback.format_exception(error)))


def keep_details(context: Context, error: BaseException) -> Path | None:
    """Write the details into a file of the state folder, for its owner alone; None: that was not possible."""
    folder = context.home.failures_dir
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(context.clock()))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = sorted(folder.glob("*.txt"))
        file = folder / f"{stamp}-{len(before):02}.txt"
        file.touch(mode=0o600)
        file.write_text(details_of(error), encoding="utf-8")
        for old in before[: max(0, len(before) + 1 - _KEPT)]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return file
