"""Failures that a user can meet on the machine, and how errors of other libraries become one of them."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from tasks.protocol import FailureCode, ProtocolError

_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
_DISK_FULL_TEXTS = ("no space left on device", "disk quota exceeded", "(os error 28)", "(os error 122)")


class TaskError(Exception):
    """A failure with a stable code, a message in one sentence and, where there is one, a hint."""

    def __init__(self, code: FailureCode, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def as_task_error(error: BaseException) -> TaskError:
    """The failure that an exception of any library stands for; `internal` when it stands for none."""
    if isinstance(error, TaskError):
        return error
    if isinstance(error, ProtocolError):
        return TaskError(FailureCode.BAD_JOB, str(error))
    if isinstance(error, ModuleNotFoundError):
        return TaskError(
            FailureCode.INTERNAL,
            f"The package {error.name!r} is not installed.",
            hint="Training needs the packages of tasks/requirements.txt.",
        )
    text = str(error).lower()
    if _is_disk_full(error, text):
        return TaskError(
            FailureCode.DISK_FULL,
            "The disk is full.",
            hint="Ask for a larger disk, or lower training.keep_checkpoints; older checkpoints are kept, "
            "so the run resumes when it is started again.",
        )
    if isinstance(error, MemoryError) or any(part in text for part in _OUT_OF_MEMORY_TEXTS):
        return TaskError(
            FailureCode.OUT_OF_MEMORY,
            f"Out of memory: {_first_line(error)}",
            hint="Lower training.micro_batch or training.max_length, or turn training.gradient_checkpointing on.",
        )
    return TaskError(
        FailureCode.INTERNAL,
        f"{type(error).__name__}: {_first_line(error)}",
        hint="This is a defect or a broken environment; the log has the traceback.",
    )


def nearest_hint(asked: str, available: Iterable[str], what: str) -> str:
    """`Did you mean 'text'? columns: body, label, text`; the list is cut at 20 names."""
    names = [str(name) for name in available]
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    near = difflib.get_close_matches(asked, names, n=1)
    return (f"Did you mean {near[0]!r}? " if near else "") + f"Available {what}: {listed or 'none'}."


def _is_disk_full(error: BaseException, text: str) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors and Arrow wrap the operating system's error in exceptions of their own.
    return any(part in text for part in _DISK_FULL_TEXTS)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else "no message")[:500]
