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
    """The first line of an error's text, cut."""
    return _lines(error)[0][:_SHOWN]


def cause(error: BaseException) -> str:
    """An error of a library in one line: its type, which its text may not make sense without, and the text."""
    name, lines = type(error).__name__, _lines(error)
    # Config classes of transformers tell beneath theirs which error it is, with its type.
    return (
        lines[1][:_SHOWN] if name.startswith("StrictDataclass") and len(lines) > 1 else f"{name}: {first_line(error)}"
    )


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
