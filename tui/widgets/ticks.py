"""Ticks of a chart at round numbers, in our own words; loaded together with the plotting library."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual_plot import NumericAxisFormatter


class Ticks(NumericAxisFormatter):
    """1, 2, 5, 10 ... with the text that the screen gives."""

    def __init__(self, text_of: Callable[[float], str]) -> None:
        super().__init__()
        self._text_of = text_of

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """A text for each."""
        return [self._text_of(tick) for tick in ticks]
