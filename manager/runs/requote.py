"""The quote renewed by what the machine measured before training: what a run will have cost, against what was planned.

Pure. Formula, in hours, with the probe's `remaining_s` of training, evaluations and saving as measured:
    total = billed so far + remaining x (1 - s, 1, 1 + s) + fetch and teardown as planned
and dollars are hours at the launch price, and beside it what the plan counts for disks, addresses and traffic home, at
its high end. s is `PROBE_SPREAD`. A run that may end early could end now: its low end has nothing remaining.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from manager.planner.plan import Estimate, Plan
from manager.planner.storage import SideUsd, side_usd
from manager.prices.offer import Offer
from manager.runs.projection import PROBE_SPREAD
from manager.units import SECONDS_PER_HOUR, Interval, MoneyInterval, format_usd, interval_hours, interval_usd
from tasks.protocol import Event

_AFTER_THE_TASK = ("fetch", "teardown")
"""Lines of the plan for what a probe cannot see."""
_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Requote:
    """The renewed quote."""

    at_s: float
    """Unix time of the probe."""
    quoted_usd: MoneyInterval | None
    """As planned for the offer that was taken; None is unknown."""
    projected_usd: MoneyInterval | None
    """None: the price is unknown."""
    projected_hours: Interval
    """From the start of billing to the end of the machine."""
    cap_usd: Decimal | None
    """None: no cap."""
    tolerated_above: float
    """Share by which the projection may exceed the quote."""
    micro_batch: int
    step_s: float
    attempts: int
    """Micro-batches that ran out of memory before."""

    @property
    def above(self) -> float | None:
        """Share by which the expected figure exceeds the quoted one (negative: is below); None: one is unknown."""
        if self.projected_usd is None or self.quoted_usd is None or not self.quoted_usd.expected:
            return None
        return float(self.projected_usd.expected / self.quoted_usd.expected) - 1

    @property
    def excess_usd(self) -> Decimal:
        """Expected dollars beyond the quoted ones; 0 where one of them is unknown."""
        if self.projected_usd is None or self.quoted_usd is None:
            return Decimal(0)
        return self.projected_usd.expected - self.quoted_usd.expected

    @property
    def is_above(self) -> bool:
        """Whether it costs more than the user tolerates over the quote."""
        return self.above is not None and self.above > self.tolerated_above

    @property
    def breaks_cap(self) -> bool:
        """Whether the cap is expected to end the run before it is done."""
        return (
            self.cap_usd is not None and self.projected_usd is not None and self.projected_usd.expected > self.cap_usd
        )

    @property
    def basis(self) -> str:
        """What the figures rest on."""
        spread = f"{PROBE_SPREAD * _PERCENT:.0f} % either way of what remains"
        return f"measured on the machine: {self.step_s:.3g} s a step with micro-batches of {self.micro_batch}; {spread}"

    @property
    def text(self) -> str:
        """`now $1.20 ($1.00 to $1.40) in 2.1 h (...), quoted $0.80 ($0.70 to $0.95): 50 % above; ...`."""
        now = f"now {interval_usd(self.projected_usd)} in {interval_hours(self.projected_hours)}"
        quoted = f"quoted {interval_usd(self.quoted_usd)}"
        above = self.above
        if above is not None:
            quoted += f": {abs(above) * _PERCENT:.0f} % {'above' if above >= 0 else 'below'}"
        over = f"; over the cap of {format_usd(self.cap_usd)}" if self.breaks_cap else ""
        return f"{now}, {quoted}{over} ({self.basis})"


class Question(Protocol):
    """A question that somebody is asked while the run goes on."""

    def answer(self) -> bool | None:
        """True: go on; False: end the run; None: no answer yet."""

    def withdraw(self) -> None:
        """Nobody needs an answer any more."""


Ask = Callable[[Requote, float], Question]
"""Puts the question; seconds until it is withdrawn."""


def requote(
    probe: Event,
    plan: Plan,
    offer: Offer,
    *,
    billed_s: float,
    price_usd_per_hour: Decimal | None,
    cap_usd: Decimal | None,
) -> Requote:
    """The quote renewed.

    Args:
        probe: the event.
        plan: as it was confirmed.
        offer: that was taken.
        billed_s: since the start of billing, until now.
        price_usd_per_hour: of the launch; None is unknown.
        cap_usd: on the whole run; None: no cap.
    """
    estimate = next((one for one in plan.offers if one.offer.key == offer.key), plan.choice)
    hours = _hours(float(probe.data["remaining_s"]), billed_s, estimate, may_end_early=plan.spec.may_end_early)
    return Requote(
        at_s=probe.time_s,
        quoted_usd=None if estimate is None else estimate.cost_usd,
        projected_usd=_usd(hours, price_usd_per_hour, side_usd(() if estimate is None else estimate.lines)),
        projected_hours=hours,
        cap_usd=cap_usd,
        tolerated_above=plan.spec.budget.requote_above,
        micro_batch=int(probe.data["micro_batch"]),
        step_s=float(probe.data["step_s"]),
        attempts=len(probe.data["attempts"]),
    )


def _hours(remaining_s: float, billed_s: float, estimate: Estimate | None, *, may_end_early: bool) -> Interval:
    lines = () if estimate is None else estimate.lines
    after = [line.quantity for line in lines if line.name in _AFTER_THE_TASK and line.unit == "h"]
    fixed = billed_s / SECONDS_PER_HOUR
    remaining = remaining_s / SECONDS_PER_HOUR
    total = Interval(
        low=fixed + (0.0 if may_end_early else remaining * (1 - PROBE_SPREAD)),
        expected=fixed + remaining,
        high=fixed + remaining * (1 + PROBE_SPREAD),
    )
    for each in after:
        total = total.plus(each)
    return total


def _usd(hours: Interval, price_usd_per_hour: Decimal | None, beside: SideUsd) -> MoneyInterval | None:
    if price_usd_per_hour is None:
        return None
    machine = MoneyInterval.of(hours, price_usd_per_hour + beside.usd_per_hour)
    once = beside.usd_once
    return MoneyInterval(low=machine.low + once, expected=machine.expected + once, high=machine.high + once)
