"""A chart: textual-plot's widget, loaded after the first paint, with the same figures in words under it.

The plotting library brings numpy, which costs as much time as a whole screen; the frame is drawn without it and the
plot is mounted when the terminal has been painted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.containers import Vertical

from tui.themes import colour
from tui.widgets.quiet_text import QuietText

if TYPE_CHECKING:
    from textual_plot import PlotWidget

Format = Callable[[float], str]
_MARGIN = 10
"""Columns for the texts of the y axis."""
_RIM_SHARE = 0.06
"""Of the extent of what is drawn, kept free around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line, or one group of points."""

    name: str
    """In the legend; empty: not there."""
    points: tuple[tuple[float, float], ...]
    """x and y."""
    kind: Literal["line", "points"] = "line"
    colour: str = "primary"
    """A variable of the theme."""
    marker: str = "•"
    """Of points; groups differ in it, so that no colour is needed."""


class Chart(Vertical):
    """Series over an x axis; what a screen reader needs stands in the line under it."""

    DEFAULT_CSS = """
    Chart { height: 1fr; min-height: 6; }
    Chart > #chart-title { height: 1; text-style: bold; }
    Chart > #chart-words { height: auto; max-height: 2; color: $text-muted; }
    Chart > #chart-plot { height: 1fr; }
    """

    def __init__(self, title: str, *, empty: str, id: str | None = None) -> None:  # noqa: A002
        """
        Args:
            title: above the chart, with the unit of the y axis.
            empty: what is said while there is nothing to draw.
            id: as any widget's.
        """
        super().__init__(id=id)
        self._title = title
        self._empty = empty
        self._series: tuple[Series, ...] = ()
        self._labels = ("", "")
        self._formats: tuple[Format, Format] = (_plain, _plain)
        self._words = ""
        self._plot: PlotWidget | None = None

    def compose(self) -> ComposeResult:
        """Title, place of the plot, words."""
        yield QuietText(self._title, id="chart-title")
        yield Vertical(id="chart-plot")
        yield QuietText(self._empty, id="chart-words")

    def on_mount(self) -> None:
        """The plot comes when the screen has been painted."""
        self.call_after_refresh(self._load)

    @property
    def words(self) -> str:
        """The text under the chart."""
        return self._words or self._empty

    def show(
        self,
        series: Sequence[Series],
        *,
        x_label: str,
        y_label: str,
        words: str,
        title: str | None = None,
        x_format: Format | None = None,
        y_format: Format | None = None,
    ) -> None:
        """Draw these series in place of those before.

        Args:
            series: what to draw; those without a point are left out.
            x_label: name and unit of the x axis; empty: no room is kept for it.
            y_label: of the y axis.
            words: the same in a sentence.
            title: a new one; None: it stays.
            x_format: text of a tick; None: the plain number.
            y_format: the same of the y axis.
        """
        self._series = tuple(one for one in series if one.points)
        self._labels = (x_label, y_label)
        self._formats = (x_format or _plain, y_format or _plain)
        self._words = words if self._series else ""
        if title is not None:
            self._title = title
            self.query_one("#chart-title", QuietText).put(title)
        self.query_one("#chart-words", QuietText).put(self.words)
        self._draw()

    async def _load(self) -> None:
        from textual_plot import PlotWidget  # See the module's docstring.

        if self._plot is None and self.is_attached:
            plot = PlotWidget(allow_pan_and_zoom=False)
            plot.can_focus = False
            self._plot = plot
            await self.query_one("#chart-plot").mount(plot)
            self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())
            self._draw()

    def _draw(self) -> None:
        plot = self._plot
        if plot is None or not plot.is_mounted:
            return
        from textual_plot import HiResMode, LegendLocation  # Loaded by now.

        from tui.widgets.ticks import Ticks

        plot.clear()
        plot.set_xlabel(self._labels[0])
        plot.set_ylabel(self._labels[1])
        plot.margin_left = _MARGIN
        columns, rows = (
            lambda: plot.size.width - _MARGIN,
            lambda: plot.size.height - plot.margin_top - plot.margin_bottom,
        )
        plot.set_x_formatter(Ticks(self._formats[0], columns, is_across=True))
        plot.set_y_formatter(Ticks(self._formats[1], rows, is_across=False))
        # Rows are dear: those of names stay away with their names.
        plot.margin_top = 1 if self._labels[1] else 0
        plot.margin_bottom = 3 if self._labels[0] else 1
        for one in self._series:
            xs, ys = [x for x, _ in one.points], [y for _, y in one.points]
            style = colour(self.app, one.colour)
            if one.kind == "line" and len(xs) > 1:
                plot.plot(xs, ys, line_style=style, hires_mode=HiResMode.BRAILLE, label=one.name or None)
            else:
                plot.scatter(xs, ys, marker=one.marker, marker_style=style, label=one.name or None)
        self._limits(plot)
        plot.show_legend(LegendLocation.TOPRIGHT, is_visible=sum(bool(one.name) for one in self._series) > 1)
        plot.display = bool(self._series)

    def _limits(self, plot: PlotWidget) -> None:
        """One point alone has no extent, and what lies on the rim is not drawn: both get room around them."""
        across = _RIM_SHARE if any(one.kind == "points" for one in self._series) else 0.0
        for values, limit, rim in (
            ([x for one in self._series for x, _ in one.points], plot.set_xlimits, across),
            ([y for one in self._series for _, y in one.points], plot.set_ylimits, _RIM_SHARE),
        ):
            low, high = min(values, default=0.0), max(values, default=0.0)
            around = (high - low) * rim if high > low else abs(low) * 0.1 or 1.0
            if not values or not around:
                limit(None, None)
            else:
                # What is never negative does not begin to be so for the sake of a margin.
                limit(max(low - around, 0.0) if low > 0 else low - around, high + around)


def _plain(value: float) -> str:
    return f"{value:g}"
