"""From the estimate of a run to what it cost, phase by phase: where the difference came from.

Of the machine alone: what a provider bills besides it is in no ledger, so that nothing can be set against the plan.
The steps add up exactly; what no phase accounts for is a step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.reports.model import Report
from manager.reports.timeline import PLAN_LINES

REST = "rest"
"""Step of what no phase accounts for: amounts rounded to a millionth of a dollar, a plan's lines of no phase."""
_SEEN_FROM_SHARE = Decimal("0.0001")
"""Of the larger total; a rest below it is rounding that no reader sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallStep:
    """One phase of the machine."""

    name: str
    """As in `PhaseShare`, or `rest`."""
    planned_usd: Decimal | None
    """Expected; 0 where the estimate has no line for it, None without an estimate."""
    actual_usd: Decimal | None
    """0 where the run did not come to it, None where the price is unknown."""
    level_usd: Decimal | None
    """The estimate with this and all earlier changes; None where one of them is unknown."""

    @property
    def change_usd(self) -> Decimal | None:
        """Dearer (above 0) or cheaper than planned; None where one of both is unknown."""
        if self.planned_usd is None or self.actual_usd is None:
            return None
        return self.actual_usd - self.planned_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """A run's way from the estimate to the bill."""

    run_id: str
    planned_usd: Decimal | None
    """Expected of the machine; None: not estimated."""
    actual_usd: Decimal | None
    """Sum of the charges, so far while it is billed; None: unknown."""
    steps: tuple[WaterfallStep, ...]
    """In the order of the phases."""
    comparable: bool
    """False when the run is not over or ended before its planned end: then it is no test of the estimate."""

    @property
    def seen_steps(self) -> tuple[WaterfallStep, ...]:
        """The steps without a rest that is mere rounding, for pictures and tables."""
        least = _SEEN_FROM_SHARE * max(_size(self.planned_usd), _size(self.actual_usd))
        return tuple(
            step
            for step in self.steps
            if step.name != REST or max(_size(step.planned_usd), _size(step.actual_usd)) > least
        )


def waterfall(report: Report) -> Waterfall:
    """The waterfall of a run in any state; without a phase that was planned or billed it has no step."""
    gauge = report.gauge("cost")
    planned = None if gauge is None or gauge.expected is None else Decimal(str(gauge.expected))
    return Waterfall(
        run_id=report.run_id,
        planned_usd=planned,
        actual_usd=report.cost_usd,
        steps=_with_levels(planned, [*_phases(report, planned), *_rest(report, planned)]),
        comparable=gauge is not None and gauge.comparable and not report.still_billing,
    )


Amounts = tuple[str, Decimal | None, Decimal | None]
"""Name, planned and actual dollars."""


def _phases(report: Report, planned_usd: Decimal | None) -> list[Amounts]:
    planned = {phase.name: phase.cost_usd for phase in report.planned_phases}
    actual = {phase.name: phase.cost_usd for phase in report.phases}
    names = [name for name in PLAN_LINES if name in planned or name in actual]
    names += [name for name in actual if name not in PLAN_LINES]
    nothing = None if report.cost_usd is None else Decimal(0)
    return [
        (name, None if planned_usd is None else planned.get(name, Decimal(0)), actual.get(name, nothing))
        for name in names
    ]


def _rest(report: Report, planned_usd: Decimal | None) -> list[Amounts]:
    """What the phases leave of both totals; nothing when they leave nothing."""
    planned = sum((phase.cost_usd for phase in report.planned_phases), Decimal(0))
    known = [phase.cost_usd for phase in report.phases if phase.cost_usd is not None]
    left_planned = None if planned_usd is None else planned_usd - planned
    left_actual = None if report.cost_usd is None else report.cost_usd - sum(known, Decimal(0))
    return [(REST, left_planned, left_actual)] if left_planned or left_actual else []


def _with_levels(planned_usd: Decimal | None, amounts: list[Amounts]) -> tuple[WaterfallStep, ...]:
    steps, level = [], planned_usd
    for name, planned, actual in amounts:
        level = None if level is None or planned is None or actual is None else level + actual - planned
        steps.append(WaterfallStep(name=name, planned_usd=planned, actual_usd=actual, level_usd=level))
    return tuple(steps)


def _size(usd: Decimal | None) -> Decimal:
    return Decimal(0) if usd is None else abs(usd)
