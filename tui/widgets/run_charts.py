"""The two charts of a run: its loss and its metric, over steps, time or dollars."""

from __future__ import annotations

from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal

from manager.service.live_run import LiveRun
from manager.service.live_series import Axis, LiveSeries
from manager.service.live_words import AXIS_TITLES, LOSS, across_words, chart_title, curve_words, value_words
from tui.widgets.chart import Chart, Series

MOST_POINTS = 400
"""Of a curve that are drawn: about twice the columns of a wide terminal."""
_MOST_MARKS = 60
"""The same of a curve that is drawn as marks."""
_COLOURS = {"training": "primary", "validation": "accent", "test": "success"}
_LINE = "─"
_MARKS = {"training": "•", "validation": "o", "test": "x"}
"""In the title and, of single points, in the plot: curves differ in more than their colour."""
_TIMES = ((180.0, 1.0, "s"), (10_800.0, 60.0, "min"), (float("inf"), 3600.0, "h"))
"""Longest time that is drawn in a unit, its seconds, its name."""


class RunCharts(Horizontal):
    """Both beside each other, or the chosen one where there is room for one."""

    DEFAULT_CSS = """
    RunCharts { height: 1fr; }
    RunCharts > Chart { width: 1fr; padding: 0 1; }
    """

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - as any widget's
        super().__init__(id=id)
        self._drawn: dict[str, object] = {}

    def compose(self) -> ComposeResult:
        """Loss and metric."""
        yield Chart("Loss", empty="no step yet", id="chart-loss")
        yield Chart("Metric", empty="no evaluation yet", id="chart-metric")

    def show(self, live: LiveRun, axis: Axis) -> None:
        """Draw this run's, if anything of it is new."""
        seconds, unit = _unit(live, axis)
        for name, chart in ((LOSS, "#chart-loss"), (live.metric, "#chart-metric")):
            found = [one for one in live.series if one.name == name]
            shown = (live.run_id, axis, unit, name, tuple((one.split, one.seen, one.points[-1]) for one in found))
            if self._drawn.get(chart) == shown:
                continue
            self._drawn[chart] = shown
            marks = "  ".join(f"{_LINE if _is_line(one) else _MARKS[one.split]} {one.split}" for one in found)
            self.query_one(chart, Chart).show(
                [curve for curve in (self._curve(one, axis, seconds) for one in found) if curve is not None],
                x_label="",
                y_label="",
                words=curve_words(live.series, name),
                title=f"{chart_title(live, name)} · x: {unit or AXIS_TITLES[axis]}{f' · {marks}' if marks else ''}",
                x_format=partial(_tick, axis, unit),
                y_format=partial(value_words, name),
            )

    def _curve(self, series: LiveSeries, axis: Axis, seconds: float) -> Series | None:
        is_line = _is_line(series)
        thin = series.thinned(MOST_POINTS if is_line else _MOST_MARKS)
        places = thin.across(axis)
        if places is None:
            return None
        return Series(
            name="",  # The title names them; a legend would cover the newest points.
            points=tuple(zip([place / seconds for place in places], thin.values(), strict=True)),
            kind="line" if is_line else "points",
            colour=_COLOURS[series.split],
            marker=_MARKS[series.split],
        )


def _is_line(series: LiveSeries) -> bool:
    """A metric's own curve is that of validation; beside the loss of training the few points of others are marks."""
    return series.split == "training" or (series.split == "validation" and series.name != LOSS)


def _unit(live: LiveRun, axis: Axis) -> tuple[float, str]:
    """By what places are divided, and the name of the axis with its unit; of time, one in which ticks are round."""
    if axis is not Axis.SECONDS:
        return 1.0, ""
    ends = [places[-1] for one in live.series if (places := one.across(axis))]
    longest = max(ends, default=0.0)
    _, seconds, name = next(row for row in _TIMES if longest <= row[0])
    return seconds, f"{name} since billing began"


def _tick(axis: Axis, unit: str, value: float) -> str:
    return f"{value:g} {unit.partition(' ')[0]}" if unit else across_words(axis, value)
