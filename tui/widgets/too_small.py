"""What is said in place of a screen for which the terminal has no room; the line of money stays."""

from __future__ import annotations

from textual.geometry import Size
from textual.widgets import Static

LEAST = Size(60, 14)
_WORKS = Size(80, 24)


class TooSmall(Static):
    """Covers what is below the first two lines, while the terminal is too small."""

    DEFAULT_CSS = """
    TooSmall {
        layer: over;
        display: none;
        width: 100%;
        height: 1fr;
        margin: 2 0 0 0;
        padding: 0 1;
        background: $background;
    }
    TooSmall.-covers { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(markup=False)

    def judge(self, size: Size) -> None:
        """Cover the screen if the terminal has this size and that is too small."""
        self.set_class(size.width < LEAST.width or size.height < LEAST.height, "-covers")
        self.update(
            f"{size.width} x {size.height} is too small: {LEAST.width} x {LEAST.height} is the least, "
            f"{_WORKS.width} x {_WORKS.height} shows everything. q leaves."
        )
