"""Geometry of the page's charts: values become positions, ticks and paths; the template only writes them down.

Positions are in the units of the chart's view box. There is no script in the page, so everything is placed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 500, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 14, 46
_MOST_POINTS = 400
"""Of one line; longer ones are thinned to the lowest and highest value of each stretch, so that spikes stay."""
_MOST_DOTS = 60
_LOG_FROM_RATIO = 30.0
"""Dollars of several runs that differ more than this are drawn on a logarithmic axis."""


def differ_widely(values: Sequence[float]) -> bool:
    """Whether they are for a logarithmic axis: a plain one would put all small ones on one spot."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > _LOG_FROM_RATIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value to be drawn."""

    x: float
    y: float
    text: str
    """Shown when pointed at, and read aloud."""
    mark: str = ""
    """Letters beside the dot; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line or one group of dots."""

    name: str
    kind: str
    """CSS class: `first`, `second`, `best`, `frontier` ..."""
    points: tuple[Point, ...]
    joined: bool = True
    """Whether a line goes through the points."""
    dots: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One labelled position on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series in view-box units."""

    name: str
    kind: str
    path: str
    """`d` of an SVG path; empty when the points are not joined."""
    dots: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart, ready to be written as SVG."""

    title: str
    description: str
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


Format = Callable[[float, float], str]
"""Value and the distance between ticks -> label."""


def draw(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_title: str,
    y_title: str,
    x_format: Format,
    y_format: Format,
    log_x: bool = False,
) -> Chart | None:
    """A chart of several series on common axes; None when there is no point at all.

    `log_x` allows a logarithmic x axis, which is taken when the values differ widely and none is 0.
    """
    xs = [point.x for one in series for point in one.points]
    ys = [point.y for one in series for point in one.points]
    if not xs:
        return None
    logarithmic = log_x and differ_widely(xs)
    x_values = _log_ticks(min(xs), max(xs)) if logarithmic else nice_ticks(min(xs), max(xs))
    y_values = nice_ticks(min(ys), max(ys))
    bend: Callable[[float], float] = math.log10 if logarithmic else float
    x_at = _scale(bend(x_values[0]), bend(x_values[-1]), LEFT, WIDTH - RIGHT)
    y_at = _scale(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP)
    lines = [_line(one, lambda value: x_at(bend(value)), y_at) for one in series if one.points]
    x_step = x_values[0] if logarithmic else x_values[1] - x_values[0]
    y_step = y_values[1] - y_values[0]
    return Chart(
        title=title,
        description=description,
        x_title=x_title,
        y_title=y_title,
        x_ticks=tuple(
            Tick(at=x_at(bend(v)), text=x_format(v, min(x_step, v) if logarithmic else x_step)) for v in x_values
        ),
        y_ticks=tuple(Tick(at=y_at(v), text=y_format(v, y_step)) for v in y_values),
        lines=tuple(lines),
    )


_FLAT = 1e-200
"""Values closer than this are drawn as one: powers of ten beyond 1e308 have no float."""


def nice_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """At least two round values that enclose low and high, evenly spaced by 1, 2, 2.5 or 5 times a power of ten."""
    if high - low < _FLAT:
        margin = abs(low) * 0.1 if abs(low) * 0.1 >= _FLAT else 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def decimals(step: float) -> int:
    """Decimals that tell values apart which lie a step from each other."""
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    scaled = step * math.pow(10, places)
    return places if math.isclose(scaled, round(scaled), abs_tol=1e-6) else places + 1


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 2)


def _line(series: Series, x_at: Callable[[float], float], y_at: Callable[[float], float]) -> Line:
    placed = [Point(x=x_at(p.x), y=y_at(p.y), text=p.text, mark=p.mark) for p in series.points]
    thin = _thin(placed)
    path = "M" + "L".join(f"{p.x:g} {p.y:g}" for p in thin) if series.joined and len(thin) > 1 else ""
    dots = placed if series.dots and len(placed) <= _MOST_DOTS else [] if path else placed[:_MOST_DOTS]
    return Line(name=series.name, kind=series.kind, path=path, dots=tuple(dots))


def _thin(points: list[Point]) -> list[Point]:
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(2 * len(points) / _MOST_POINTS)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {id(min(stretch, key=lambda p: p.y)), id(max(stretch, key=lambda p: p.y))}
        kept += [point for point in stretch if id(point) in ends]
    return kept
