"""Ticks of a chart at round numbers, in our own words; loaded together with the plotting library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from textual_plot import NumericAxisFormatter

_GAP = 2
"""Cells between two texts on the x axis."""
_ROWS = 2
"""Of the y axis for one text: two ticks in one row would be written over each other."""
_FEWEST = 2


class Ticks(NumericAxisFormatter):
    """1, 2, 5, 10 ... with the text that the screen gives."""

    def __init__(self, text_of: Callable[[float], str], cells: Callable[[], int], *, is_across: bool) -> None:
        """
        Args:
            text_of: text of a tick.
            cells: length of the axis at this moment, in columns or rows.
            is_across: whether it is the x axis.
        """
        super().__init__()
        self._text_of = text_of
        self._cells = cells
        self._is_across = is_across

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """As many as have room, and none that reads as the one before."""
        ticks: list[float] = []
        for tick in super().get_ticks(min_, max_, max_ticks):
            if not ticks or self._text_of(tick) != self._text_of(ticks[-1]):
                ticks.append(tick)
        widest = max((len(self._text_of(tick)) for tick in ticks), default=0)
        most = max(_FEWEST, self._cells() // (widest + _GAP if self._is_across else _ROWS))
        return ticks[:: max(1, math.ceil(len(ticks) / most))]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """A text for each."""
        return [self._text_of(tick) for tick in ticks]
