"""What each limit costs: the cheapest job without it, and with one more; which of them rule everything out.

Answers rest on what a `Planner` has judged already, so that each takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from manager.planner.build import Planner
from manager.planner.plan import BudgetCap, Estimate, under_cap
from manager.spec.model import CONFIDENCES, Budget, Where
from manager.units import format_hours, format_usd

MOST_CLOUDS = 6
"""Clouds that are asked one by one, those of the cheapest jobs first."""
_FASTER = 0.5


class _Change(NamedTuple):
    """Other limits."""

    name: str
    where: Where
    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCost:
    """The cheapest job under other limits, against the present choice."""

    change: str
    """For people: `without budget.deadline_hours 6 h`, `only aws` ..."""
    is_relaxed: bool
    """Whether a limit is taken away; else one is added."""
    best: Estimate | None
    """None: nothing can be chosen then."""
    added_usd: Decimal | None
    """Expected dollars more than the present choice; negative: saved. None where one of both cannot be chosen."""
    added_hours: float | None


def limit_costs(planner: Planner, where: Where, budget: Budget, cap: BudgetCap | None = None) -> list[LimitCost]:
    """Each limit that is set taken away alone, then some that could be set added alone.

    Args:
        planner: has judged the job.
        where: places that are allowed.
        budget: limits of the run file.
        cap: what a budget of the user leaves, where that is less than the run file's own cap.
    """
    limits = under_cap(budget, cap)
    present = _best(planner, where, limits)
    relaxed = [(change, True) for change in _relaxed(where, budget, cap)]
    tightened = [(change, False) for change in _tightened(planner, where, limits, present)]
    return [
        _cost(change.name, is_relaxed=is_relaxed, best=_best(planner, change.where, change.budget), present=present)
        for change, is_relaxed in (*relaxed, *tightened)
    ]


def binding_notes(planner: Planner, where: Where, budget: Budget, cap: BudgetCap | None = None) -> list[str]:
    """For a plan without a choice: which limits, taken away alone, would leave one, and which; see `limit_costs`."""
    notes = []
    names = []
    for change in _relaxed(where, budget, cap):
        best = _best(planner, change.where, change.budget)
        names.append(change.name.removeprefix("without "))
        if best is not None:
            notes.append(f"{change.name} the cheapest is {_told(best)}")
    if not notes and len(names) > 1:
        best = _best(planner, Where(spot=True, max_nodes=where.max_nodes, on_paper=where.on_paper), Budget())
        if best is not None:
            notes.append(
                f"no limit rules out everything alone, together they do: {', '.join(names)}; without all of them the "
                f"cheapest is {_told(best)}"
            )
    return notes


def _told(estimate: Estimate) -> str:
    cost = None if estimate.cost_usd is None else estimate.cost_usd.expected
    hours = None if estimate.hours is None else estimate.hours.expected
    return f"{estimate.offer.key}: {format_usd(cost)}, {format_hours(hours)}"


def _best(planner: Planner, where: Where, budget: Budget) -> Estimate | None:
    found = planner.rank(where, budget).top(1)
    return found[0] if found else None


def _relaxed(where: Where, own: Budget, cap: BudgetCap | None) -> Iterator[_Change]:
    """Each limit that is set, and the limits without it."""
    budget = under_cap(own, cap)
    if cap is not None:
        yield _Change(f"without the {cap.name}", where, own)
    elif budget.max_usd is not None:
        yield _Change(f"without budget.max_usd {format_usd(budget.max_usd)}", where, replace(budget, max_usd=None))
    if budget.deadline_hours is not None:
        told = format_hours(budget.deadline_hours)
        yield _Change(f"without budget.deadline_hours {told}", where, replace(budget, deadline_hours=None))
    if budget.is_sure and (budget.max_usd is not None or budget.deadline_hours is not None):
        yield _Change(
            f"without budget.confidence {budget.confidence:g}", where, replace(budget, confidence=CONFIDENCES[0])
        )
    if where.clouds:
        yield _Change(f"without where.clouds {', '.join(where.clouds)}", replace(where, clouds=()), budget)
    if where.regions:
        yield _Change(f"without where.regions {', '.join(where.regions)}", replace(where, regions=()), budget)
    if where.accelerators:
        yield _Change(
            f"without where.accelerators {', '.join(where.accelerators)}", replace(where, accelerators=()), budget
        )
    if not where.spot:
        yield _Change("with where.spot", replace(where, spot=True), budget)


def _tightened(planner: Planner, where: Where, budget: Budget, present: Estimate | None) -> Iterator[_Change]:
    """Limits that people often set, and the limits with each of them."""
    if present is None:
        return
    if where.spot:
        yield _Change("without spot", replace(where, spot=False), budget)
    if not budget.is_sure and (budget.max_usd is not None or budget.deadline_hours is not None):
        yield _Change("limits kept at 90 %", where, replace(budget, confidence=CONFIDENCES[1]))
    if present.hours is not None:
        faster = present.hours.expected * _FASTER
        yield _Change(f"done in half the time, {format_hours(faster)}", where, replace(budget, deadline_hours=faster))
    for cloud in _clouds(planner, where, budget):
        if (cloud,) != where.clouds:
            yield _Change(f"only {cloud}", replace(where, clouds=(cloud,)), budget)


def _clouds(planner: Planner, where: Where, budget: Budget) -> list[str]:
    """Clouds that can carry the job, by their cheapest."""
    cheapest: dict[str, float] = {}
    for candidate in planner.rank(where, budget).candidates:
        cloud = candidate.rental.cloud
        cheapest[cloud] = min(cheapest.get(cloud, float("inf")), candidate.usd(0))
    return sorted(cheapest, key=lambda cloud: cheapest[cloud])[:MOST_CLOUDS]


def _cost(name: str, *, is_relaxed: bool, best: Estimate | None, present: Estimate | None) -> LimitCost:
    added_usd: Decimal | None = None
    added_hours: float | None = None
    if best is not None and present is not None:
        if best.cost_usd is not None and present.cost_usd is not None:
            added_usd = best.cost_usd.expected - present.cost_usd.expected
        if best.hours is not None and present.hours is not None:
            added_hours = best.hours.expected - present.hours.expected
    return LimitCost(change=name, is_relaxed=is_relaxed, best=best, added_usd=added_usd, added_hours=added_hours)
