"""Dollars against hours: all offers as dots, the frontier as a line, the choice and marked offers with signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from manager.units import format_hours, format_usd, usd
from tui.widgets.chart import Chart, Series

if TYPE_CHECKING:
    from manager.service.nouns import Estimate

_TITLE = "$ to finish against time: ─ frontier, ◆ chosen, · others, 1-9 marked"
_MOST_MARKED = 9
_ROOM = 2.5
"""By which the dearest and slowest of the frontier are passed at most: what is far off would leave no room for it."""

_FEWEST = 12
"""Nearest offers that are drawn however far off they are: a choice alone on its chart says nothing."""


class ParetoChart(Chart):
    """The chart, with the frontier in words under it."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(_TITLE, empty="no offer to draw", id=id)

    def show_offers(
        self,
        offers: Sequence[Estimate],
        pareto: Sequence[Estimate],
        *,
        choice: Estimate | None,
        marked: Sequence[Estimate] = (),
    ) -> None:
        """Draw these offers; marked ones have the numbers in which they were marked."""
        near = _near(offers, (*pareto, *marked, *([choice] if choice else [])))
        # Names would make a legend, which hides points where there is little room: the title has the signs.
        series = [
            Series(name="", points=_points(near), kind="points", colour="foreground-muted", marker="·"),
            Series(name="", points=_points(pareto), colour="primary"),
        ]
        if choice is not None:
            series.append(Series(name="", points=_points([choice]), kind="points", colour="success", marker="◆"))
        for number, one in enumerate(marked[:_MOST_MARKED], start=1):
            series.append(Series(name="", points=_points([one]), kind="points", colour="accent", marker=str(number)))
        self.show(
            series,
            x_label="time, launch to machine gone",
            y_label="$",
            words=words(pareto, marked),
            x_format=format_hours,
            y_format=lambda value: format_usd(usd(max(value, 0.0))),
        )


def words(pareto: Sequence[Estimate], marked: Sequence[Estimate] = ()) -> str:
    """The ends of the frontier in a sentence, and the marked offers by number."""
    from manager.service.offer_words import (
        frontier,  # The planner is loaded by the first answer, not by the first paint.
    )

    rows = [row for row in frontier(pareto) if row.estimate.cost_usd is not None and row.estimate.hours is not None]
    if not rows:
        return ""
    first, last = rows[0].estimate, rows[-1].estimate
    between = f", {len(rows) - 2} between" if len(rows) > 2 else ""
    told = f"cheapest {_told(first)}; fastest {_told(last)}{between}"
    if first is last:
        told = f"cheapest and fastest {_told(first)}"
    numbered = (f"{number} {_told(one)}" for number, one in enumerate(marked[:_MOST_MARKED], start=1))
    return "; ".join((told, *numbered))


def _told(estimate: Estimate) -> str:
    cost, hours = estimate.cost_usd, estimate.hours
    told_usd = format_usd(None if cost is None else cost.expected)
    return f"{told_usd} in {format_hours(None if hours is None else hours.expected)}, {estimate.offer.devices}"


def _points(estimates: Sequence[Estimate]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (one.hours.expected, float(one.cost_usd.expected))
        for one in estimates
        if one.hours is not None and one.cost_usd is not None
    )


def _near(offers: Sequence[Estimate], kept: Sequence[Estimate]) -> list[Estimate]:
    """The offers that a chart of the kept ones has room for."""
    points = _points(kept)
    if not points:
        return list(offers)
    most_hours, most_usd = max(x for x, _ in points), max(y for _, y in points)

    def far(one: Estimate) -> float:
        """How many times as slow or as dear as the worst of the kept ones."""
        ((hours, dollars),) = _points([one])
        return max(hours / most_hours, dollars / most_usd if most_usd else 0.0)

    ranked = sorted((one for one in offers if _points([one])), key=far)
    return [one for place, one in enumerate(ranked) if place < _FEWEST or far(one) <= _ROOM]
