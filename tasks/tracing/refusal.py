"""The one error of tracing: a model or a step that cannot be built, with the field at fault."""

from __future__ import annotations


class RefusedModel(ValueError):
    """A config that gives no trace: what is wrong, in which field, and what to do."""

    def __init__(self, message: str, *, field: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        """Name in the config or in the request; None when the fault is in none of them."""
        self.hint = hint


def first_line(error: BaseException) -> str:
    """The first line of an error's text, cut."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]


def cause(error: BaseException) -> str:
    """An error of a library in one line: its type, which its text may not make sense without, and the text."""
    return f"{type(error).__name__}: {first_line(error)}"
