"""Figures of a run over its steps, in a memory that does not grow with them.

Points are kept in buckets, of each of which the lowest and the highest value remain: peaks and dips stay visible, and
a bucket is what one column of a chart shows. When there are too many, neighbours become one and the next take twice as
many points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from manager.units import SECONDS_PER_HOUR

MOST_POINTS = 2000

Point = tuple[int, float, float]
"""Optimizer step, Unix time in seconds by the training machine's clock, value."""


class Axis(StrEnum):
    """What a chart of a run has across."""

    STEPS = "steps"
    SECONDS = "seconds"
    DOLLARS = "dollars"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSeries:
    """One curve, oldest point first."""

    name: str
    """`loss`, or a metric's name."""
    split: str
    """`training`, `validation` or `test`."""
    points: tuple[Point, ...]
    seen: int
    """Points that there were; more than are kept when the curve was thinned."""
    billing_started_s: float | None
    """By the training machine's clock; None: billing is not known to have started."""
    price_usd_per_hour: float | None
    """None: unknown, or nothing to count with."""

    def values(self) -> list[float]:
        """The curve's heights."""
        return [point[2] for point in self.points]

    def thinned(self, most_points: int) -> LiveSeries:
        """The same curve with about so many points at most: peaks, dips, and both ends."""
        if len(self.points) <= most_points:
            return self
        curve = Curve(most_points=most_points)
        for point in self.points:
            curve.add(*point)
        points = curve.points()
        first = () if points[0] == self.points[0] else self.points[:1]
        return replace(self, points=(*first, *points))

    def across(self, axis: Axis) -> list[float] | None:
        """Where they lie: steps, seconds since billing began or dollars since then; None where that is unknown."""
        if axis is Axis.STEPS:
            return [float(point[0]) for point in self.points]
        start_s = self.billing_started_s
        if start_s is None:
            return None
        seconds = [max(0.0, point[1] - start_s) for point in self.points]
        if axis is Axis.SECONDS:
            return seconds
        price = self.price_usd_per_hour
        return None if price is None else [price * passed_s / SECONDS_PER_HOUR for passed_s in seconds]


class Curve:
    """A curve that grows."""

    def __init__(self, *, most_points: int = MOST_POINTS) -> None:
        """At most so many points are kept, and the newest."""
        self._most_buckets = max(2, most_points // 4 * 2)
        self._width = 1
        self._lows: list[Point] = []
        self._highs: list[Point] = []
        self._filled = 0
        self._points: tuple[Point, ...] | None = None
        self._last: Point | None = None
        self.seen = 0
        """Points that there were."""

    def add(self, step: int, time_s: float, value: float) -> None:
        """One more point, at the end."""
        point = (step, time_s, value)
        if self._filled == 0:
            if len(self._lows) == self._most_buckets:
                self._merge()
            self._lows.append(point)
            self._highs.append(point)
        else:
            self._lows[-1] = _lower(self._lows[-1], point)
            self._highs[-1] = _higher(self._highs[-1], point)
        self._filled = (self._filled + 1) % self._width
        self._last, self._points = point, None
        self.seen += 1

    def points(self) -> tuple[Point, ...]:
        """What is kept, oldest first, the newest point always among it."""
        if self._points is None:
            kept: list[Point] = []
            for low, high in zip(self._lows, self._highs, strict=True):
                kept.extend((low,) if low == high else (low, high) if low[:2] <= high[:2] else (high, low))
            if self._last is not None and kept[-1] != self._last:
                kept.append(self._last)
            self._points = tuple(kept)
        return self._points

    def _merge(self) -> None:
        """Neighbours become one; their number is even."""
        lows, highs = self._lows, self._highs
        self._lows = [_lower(*pair) for pair in zip(lows[::2], lows[1::2], strict=True)]
        self._highs = [_higher(*pair) for pair in zip(highs[::2], highs[1::2], strict=True)]
        self._width *= 2


def _lower(one: Point, other: Point) -> Point:
    return one if one[2] <= other[2] else other


def _higher(one: Point, other: Point) -> Point:
    return one if one[2] >= other[2] else other
