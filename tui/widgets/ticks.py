"""Ticks of a chart at round numbers, in our own words; loaded together with the plotting library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual_plot import NumericAxisFormatter

_LONG_TEXT = 7
_FEW = 4
"""So many long texts stand beside each other on a chart of half a terminal."""


class Ticks(NumericAxisFormatter):
    """1, 2, 5, 10 ... with the text that the screen gives."""

    def __init__(self, text_of: Callable[[float], str]) -> None:
        super().__init__()
        self._text_of = text_of

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        """At most as many as have room, and none that reads as the one before."""
        ticks: list[float] = []
        for tick in super().get_ticks(min_, max_, max_ticks):
            if not ticks or self._text_of(tick) != self._text_of(ticks[-1]):
                ticks.append(tick)
        widest = max((len(self._text_of(tick)) for tick in ticks), default=0)
        return ticks[:: 2 if widest > _LONG_TEXT and len(ticks) > _FEW else 1]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """A text for each."""
        return [self._text_of(tick) for tick in ticks]
