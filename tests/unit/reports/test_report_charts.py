"""Positions and ticks of the charts."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manager.reports.charts import HEIGHT, WIDTH, Chart, Point, Series, decimals, draw, nice_ticks


def _draw(points: list[tuple[float, float]], *, log_x: bool = False) -> Chart | None:
    series = Series(name="s", kind="first", points=tuple(Point(x=x, y=y, text="") for x, y in points))
    return draw(
        [series],
        title="t",
        description="d",
        x_title="x",
        y_title="y",
        x_format=lambda value, step: f"{value:.{decimals(step)}f}",
        y_format=lambda value, step: f"{value:.{decimals(step)}f}",
        log_x=log_x,
    )


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_the_values_and_are_evenly_spaced(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    slack = (ticks[1] - ticks[0]) * 1e-3
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 2 <= len(ticks) <= 9


@pytest.mark.parametrize(("step", "places"), [(1, 0), (0.5, 1), (0.25, 2), (0.025, 3), (20, 0), (2.5, 1), (0.001, 3)])
def test_labels_have_as_many_decimals_as_the_step_needs(step: float, places: int) -> None:
    assert decimals(step) == places


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-10, 10)), min_size=1, max_size=30))
@example([(0.0, 1.1125369292536007e-308)])
@example([(0.0, 0.0), (5e-324, 5e-324)])
def test_everything_lies_inside_the_view_box_with_distinct_labels(points: list[tuple[float, float]]) -> None:
    chart = _draw(points)
    assert chart is not None
    for dot in chart.lines[0].dots:
        assert 0 <= dot.x <= WIDTH
        assert 0 <= dot.y <= HEIGHT
    labels = [tick.text for tick in chart.x_ticks]
    assert len(labels) == len(set(labels))


def test_no_points_no_chart() -> None:
    assert _draw([]) is None


def test_long_curves_are_thinned_but_keep_their_spikes() -> None:
    chart = _draw([(float(i), 100.0 if i == 5001 else i / 1e4) for i in range(10_000)])
    assert chart is not None
    line = chart.lines[0]
    assert line.path.count("L") < 800
    assert min(float(part.split()[1]) for part in line.path[1:].split("L")) == chart.y_ticks[-1].at


def test_widely_different_prices_get_a_logarithmic_axis() -> None:
    chart = _draw([(0.003, 0.9), (0.03, 0.9), (3.0, 0.9)], log_x=True)
    assert chart is not None
    assert [tick.text for tick in chart.x_ticks] == ["0.001", "0.010", "0.100", "1.000", "10.000"]
    x = [dot.x for dot in chart.lines[0].dots]
    assert (x[2] - x[1]) == pytest.approx(2 * (x[1] - x[0]), abs=0.1)
