"""Dollars against hours: all offers as dots, the frontier as a line, the choice and marked offers with signs."""

from __future__ import annotations

from collections.abc import Sequence

from manager.service.nouns import Estimate
from manager.service.offer_words import device_name, frontier
from manager.units import format_hours, format_usd, usd
from tui.widgets.chart import Chart, Series

_MOST_MARKED = 9


class ParetoChart(Chart):
    """The chart, with the frontier in words under it."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__("dollars to finish against time · p: as a list", empty="no offer to draw", id=id)

    def show_offers(
        self,
        offers: Sequence[Estimate],
        pareto: Sequence[Estimate],
        *,
        choice: Estimate | None,
        marked: Sequence[Estimate] = (),
    ) -> None:
        """Draw these offers; marked ones have the numbers in which they were marked."""
        series = [
            Series(name="offers", points=_points(offers), kind="points", colour="foreground-muted", marker="·"),
            Series(name="none is cheaper and faster", points=_points(pareto), colour="primary"),
        ]
        if choice is not None:
            series.append(Series(name="chosen", points=_points([choice]), kind="points", colour="success", marker="◆"))
        for number, one in enumerate(marked[:_MOST_MARKED], start=1):
            name = f"{device_name(one.offer)}, {one.offer.cloud}"
            series.append(Series(name=name, points=_points([one]), kind="points", colour="accent", marker=str(number)))
        self.show(
            series,
            x_label="time, launch to machine gone",
            y_label="$",
            words=words(pareto),
            x_format=format_hours,
            y_format=lambda value: format_usd(usd(max(value, 0.0))),
        )


def words(pareto: Sequence[Estimate]) -> str:
    """The ends of the frontier in a sentence."""
    rows = [row for row in frontier(pareto) if row.estimate.cost_usd is not None and row.estimate.hours is not None]
    if not rows:
        return ""
    first, last = rows[0].estimate, rows[-1].estimate
    if first is last:
        return f"cheapest and fastest: {_told(first)}"
    between = f"; {len(rows) - 2} between" if len(rows) > 2 else ""
    return f"cheapest: {_told(first)}; fastest: {_told(last)}{between}"


def _told(estimate: Estimate) -> str:
    cost, hours = estimate.cost_usd, estimate.hours
    told_usd = format_usd(None if cost is None else cost.expected)
    return f"{told_usd} in {format_hours(None if hours is None else hours.expected)}, {device_name(estimate.offer)}"


def _points(estimates: Sequence[Estimate]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (one.hours.expected, float(one.cost_usd.expected))
        for one in estimates
        if one.hours is not None and one.cost_usd is not None
    )
