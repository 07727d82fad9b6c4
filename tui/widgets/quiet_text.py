"""Text that changes often: nothing is laid out anew as long as it takes as many lines as before.

A layout of a whole screen costs more than all that a live screen draws between two of them.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class QuietText(Static):
    """Plain text in place of other plain text."""

    def __init__(self, text: str = "", *, id: str | None = None) -> None:  # noqa: A002 - as any widget's
        super().__init__(text, id=id, markup=False)
        self._text = text

    def put(self, text: str) -> None:
        """Show this text from now on."""
        if text == self._text:
            return
        width = self.content_size.width
        before, self._text = self._text, text
        self.update(text, layout=not width or _lines(before, width) != _lines(text, width))


def _lines(text: str, width: int) -> int:
    return len(Content(text).wrap(width))
