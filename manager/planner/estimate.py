"""What one offer would cost for one workload: fit, hours and a bill whose lines add up to its total.

Pure: prices, assumptions and calibrations arrive as arguments. Hours are counted from the launch to the machine's end,
in lines; each line is multiplied with the offer's price and rounded to a millionth of a dollar, and the total is the
sum of the rounded lines, so that a bill can be added up by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from manager.planner.assumptions import Assumptions
from manager.planner.calibration import Calibration
from manager.planner.fixed_phases import Timed
from manager.planner.judge import REASON_BATCH, REASON_FIT, Judgement
from manager.planner.machine import REASON_PROGRAM
from manager.planner.phases import NO_PHASES, TRAINING, PhaseBook, RunPhases, Totals
from manager.planner.plan import Assumption, CostLine, Estimate, HostBytes
from manager.planner.shape import LOCAL
from manager.planner.spot import Ends
from manager.planner.storage import address_extra, disk_extra, egress_extra
from manager.planner.traffic import traffic_extras
from manager.prices.offer import Offer
from manager.units import SECONDS_PER_HOUR, Interval, MoneyInterval, format_bytes
from manager.workload.host_memory import HostNeed, host_need

__all__ = ["REASON_BATCH", "REASON_FIT", "REASON_HOST", "REASON_PRICE", "Verdict", "priced", "verdict"]

_HOUR_DIGITS = 9
_NONE: Ends = (0.0, 0.0, 0.0)
_ENDLESS_HOURS = 365 * 24
"""Of a run that loses to preemptions nearly all that it does; the formulas go on to figures that no money has."""
REASON_PRICE = "unknown price"
REASON_HOST = "host's memory is too small"
REASON_PREEMPTED = "preempted too often"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is the same for all offers of one shape of machine on one cloud and market, price apart.

    Totals are there at once, since all machines are ranked by them; the rest is made for what is looked at.
    """

    judgement: Judgement
    book: PhaseBook
    cloud: str
    use_spot: bool
    calibration: Calibration | None
    totals: Totals | None
    """None when the job does not run there."""
    reason: str | None
    """Why it cannot be chosen, whatever its price; None: it can."""

    @property
    def is_on_paper(self) -> bool:
        """Whether it can be estimated, and only the training program does not run there."""
        return self.totals is not None and (self.reason or "").startswith(REASON_PROGRAM)

    @property
    def hours(self) -> Ends | None:
        """Launch to machine gone; None when the job does not run there."""
        return None if self.totals is None else self.totals.hours

    @property
    def billed_hours(self) -> Ends:
        """Those of them in which a machine is billed."""
        return _NONE if self.totals is None else self.totals.billed_hours

    @property
    def calibration_factor(self) -> float:
        """By which own runs have changed the estimator's training time; 1 where none has."""
        return 1.0 if self.calibration is None else self.calibration.time_factor

    @cached_property
    def run(self) -> RunPhases:
        """The phases; none when the job does not run there."""
        if self.totals is None:
            return NO_PHASES
        return self.book.phases(self.judgement, cloud=self.cloud, use_spot=self.use_spot, calibration=self.calibration)

    @property
    def timed(self) -> tuple[Timed, ...]:
        """The phases alone."""
        return self.run.timed

    @cached_property
    def phases(self) -> tuple[tuple[Timed, Interval], ...]:
        """Each phase with its hours, as the bill shows them."""
        return tuple((phase, _hours(phase)) for phase in self.timed)

    @cached_property
    def side_usd(self) -> Ends:
        """Dollars of disks, addresses and traffic."""
        machine = self.judgement.machine
        if self.totals is None or machine is None:
            return _NONE
        rates = self.book.extra_rates(self.judgement.variant, self.cloud, machine.num_nodes)
        hourly, once, hours = rates.usd_per_hour, rates.usd_once, self.totals.billed_hours
        return (
            hours[0] * hourly.low + once.low,
            hours[1] * hourly.expected + once.expected,
            hours[2] * hourly.high + once.high,
        )

    @property
    def disk_gib(self) -> int | None:
        """Of each node; None when the job does not run there, and on this machine, whose disk is there."""
        if self.totals is None or self.cloud == LOCAL:
            return None
        return self.book.disk_gib(self.judgement.variant, self.cloud)

    @cached_property
    def stated(self) -> tuple[Assumption, ...]:
        """What the phases take for granted, for people."""
        if self.totals is None:
            return ()
        return self.book.stated(self.judgement, cloud=self.cloud, use_spot=self.use_spot, calibration=self.calibration)

    def extras(self, hours: Interval) -> tuple[CostLine, ...]:
        """Lines of what is billed besides machines, for so many billed hours; none where nothing of it is."""
        machine, variant = self.judgement.machine, self.judgement.variant
        if self.totals is None or machine is None:
            return ()
        disk_gib, sent_bytes = (
            self.book.disk_gib(variant, self.cloud),
            self.book.sent_home_bytes(variant.profile, self.cloud),
        )
        lines = _extras(self.book.assumptions, self.cloud, disk_gib, sent_bytes, machine.num_nodes, hours)
        traffic = traffic_extras(
            self.book.assumptions, self.book.places, variant.profile, cloud=self.cloud, nodes=machine.num_nodes
        )
        return (*lines, *(extra.line() for extra in traffic if extra.price.value.high > 0))

    @cached_property
    def host(self) -> HostNeed | None:
        """What the host of a machine with accelerators needs; None for others, and where the job does not run."""
        judgement = self.judgement
        machine, memory = judgement.machine, judgement.memory
        if self.totals is None or machine is None or machine.is_cpu or memory is None:
            return None
        return host_need(judgement.variant.profile, memory, machine.placement_on_node)

    def host_refusal(self, host_memory_bytes: int | None) -> str | None:
        """Why a host of this size does not carry the job; None: it does or may, or its memory is unknown."""
        least = self.judgement.least_host_bytes if self.totals is not None else None
        if least is None or host_memory_bytes is None or host_memory_bytes >= least:
            return None
        host = self.host
        assert host is not None
        return (
            f"{REASON_HOST}: {format_bytes(host.low.peak_bytes)} at least needed while {host.low.peak}, "
            f"has {format_bytes(host_memory_bytes)}"
        )


def verdict(
    judgement: Judgement, book: PhaseBook, *, cloud: str, use_spot: bool, calibration: Calibration | None
) -> Verdict:
    """The judgement on a shape, carried over to one cloud and market."""
    totals, reason = None, judgement.reason
    if judgement.seconds is not None:
        totals = book.totals(judgement, cloud=cloud, use_spot=use_spot, calibration=calibration)
        if use_spot and totals.hours[2] > _ENDLESS_HOURS:
            totals, reason = None, f"{REASON_PREEMPTED}: it may never come to its end"
    return Verdict(
        judgement=judgement,
        book=book,
        cloud=cloud,
        use_spot=use_spot,
        calibration=calibration,
        totals=totals,
        reason=reason,
    )


def _extras(
    assumptions: Assumptions, cloud: str, disk_gib: int, sent_bytes: float, nodes: int, hours: Interval
) -> tuple[CostLine, ...]:
    """What a provider bills besides machines; nothing where it bills none of it."""
    found = (
        disk_extra(assumptions, cloud=cloud, gib=disk_gib, hours=hours, nodes=nodes),
        address_extra(assumptions, cloud=cloud, hours=hours, nodes=nodes),
        egress_extra(assumptions, cloud=cloud, sent_bytes=sent_bytes),
    )
    return tuple(extra.line() for extra in found if extra.price.value.high > 0)


def memory_factor_of(calibration: Calibration | None) -> float:
    """Measured over estimated memory; a run that needed less than its estimate promises nothing for the next."""
    return max(1.0, (calibration.memory_factor if calibration else None) or 1.0)


def priced(offer: Offer, verdict: Verdict) -> Estimate:
    """The verdict on the offer's kind of machine, with the bill at the offer's price."""
    price, host, judgement = offer.price_usd_per_hour, verdict.host, verdict.judgement
    machine = judgement.machine
    reason = verdict.reason or verdict.host_refusal(offer.host_memory_bytes)
    if reason is None and price is None:
        reason = f"{REASON_PRICE}: {offer.price_source}"
    lines: tuple[CostLine, ...] = ()
    if price is not None and verdict.phases:
        billed = _sum_of_hours([hours for phase, hours in verdict.phases if phase.is_billed])
        lines = tuple(_cost_line(phase, hours, price) for phase, hours in verdict.phases)
        lines = (*lines, *(() if billed is None else verdict.extras(billed)))
    hours = _sum_of_hours([hours for _, hours in verdict.phases])
    profile = judgement.variant.profile
    return Estimate(
        offer=offer,
        fits=judgement.micro_batch is not None,
        micro_batch=judgement.micro_batch,
        memory=judgement.memory,
        hours=hours,
        training_hours=next((hours for phase, hours in verdict.phases if phase.name == TRAINING), None),
        cost_usd=MoneyInterval.sum(line.total_usd for line in lines) if lines else None,
        lines=lines,
        assumptions=(*verdict.stated, *_host_assumption(host, offer)),
        host_bytes=None if host is None else _host_bytes(host),
        calibration_factor=verdict.calibration_factor,
        precision=profile.precision,
        gradient_checkpointing=profile.gradient_checkpointing,
        sharding="none" if machine is None or machine.replicas == 1 else machine.sharding,
        accumulation=judgement.accumulation,
        disk_gib=verdict.disk_gib,
        checkpoint_every_steps=verdict.run.checkpoint_every_steps,
        preemptions=_interval(verdict.run.preemptions),
        reason=reason,
    )


def _host_bytes(host: HostNeed) -> HostBytes:
    return HostBytes(
        low=host.low.peak_bytes,
        expected=host.expected.peak_bytes,
        high=host.high.peak_bytes,
        moment=host.expected.peak,
        basis=host.basis,
    )


def _host_assumption(host: HostNeed | None, offer: Offer) -> tuple[Assumption, ...]:
    """What is open about the host: how much it has, or whether that is enough."""
    if host is None:
        return ()
    if offer.host_memory_bytes is None:
        known = f"{format_bytes(host.expected.peak_bytes)} needed"
        text = f"{known}; {offer.price_source} does not say how much the host has"
    elif host.may_exceed(offer.host_memory_bytes):
        text = (
            f"{format_bytes(offer.host_memory_bytes)} may be too little: {format_bytes(host.high.peak_bytes)} needed "
            f"at most, while {host.high.peak}"
        )
    else:
        return ()
    return (Assumption(name="host_memory", text=text),)


def _interval(ends: Ends | None) -> Interval | None:
    return None if ends is None else Interval(low=ends[0], expected=ends[1], high=ends[2])


def _hours(phase: Timed) -> Interval:
    low, expected, high = (
        round(seconds / SECONDS_PER_HOUR, _HOUR_DIGITS) for seconds in (phase.low_s, phase.expected_s, phase.high_s)
    )
    return Interval(low=low, expected=expected, high=high)


def _sum_of_hours(hours: Sequence[Interval]) -> Interval | None:
    if not hours:
        return None
    total = hours[0]
    for one in hours[1:]:
        total = total.plus(one)
    return total


def _cost_line(phase: Timed, hours: Interval, price_usd_per_hour: Decimal) -> CostLine:
    price = price_usd_per_hour if phase.is_billed else Decimal(0)
    return CostLine(
        name=phase.name,
        quantity=hours,
        unit="h",
        unit_price_usd=price,
        total_usd=MoneyInterval.of(hours, price),
        assumption=phase.assumption,
    )
