"""The one error of tracing: a model or a step that cannot be built, with the field at fault."""

from __future__ import annotations

_SHOWN = 300
"""Characters of an error of a library."""


class RefusedModel(ValueError):
    """A config that gives no trace: what is wrong, in which field, and what to do."""

    def __init__(self, message: str, *, field: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        """Name in the config or in the request; None when the fault is in none of them."""
        self.hint = hint


def first_line(error: BaseException) -> str:
    """The first line of an error's text, cut; with the next one where it only introduces that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:_SHOWN]


def cause(error: BaseException) -> str:
    """An error of a library in one line: its type, which its text may not make sense without, and the text."""
    return f"{type(error).__name__}: {first_line(error)}"
