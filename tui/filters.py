"""What is done to every line before it is drawn."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter


class EveryStyle(LineFilter):
    """Gives text without a style an empty one: the canvas of charts draws such text, Textual's NO_COLOR wants one."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same text, each piece with a style."""
        return [
            segment if segment.style is not None else Segment(segment.text, Style.null(), segment.control)
            for segment in segments
        ]
