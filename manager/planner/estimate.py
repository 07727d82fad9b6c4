"""What one offer would cost for one workload: fit, hours and a bill whose lines add up to its total.

Pure: prices, assumptions and calibrations arrive as arguments. Hours are counted from the launch to the machine's end,
in lines; each line is multiplied with the offer's price and rounded to a millionth of a dollar, and the total is the
sum of the rounded lines, so that a bill can be added up by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from manager.catalog.accelerators import Accelerator
from manager.planner.assumptions import Assumptions
from manager.planner.calibration import Calibration
from manager.planner.machine import REASON_SPEED, Machine, machine_of
from manager.planner.phases import Phase, phases_of_run
from manager.planner.plan import Assumption, CostLine, Estimate, HostBytes
from manager.prices.offer import Offer
from manager.units import Interval, MoneyInterval, format_bytes
from manager.workload.build import even_micro_batch, micro_batch_limit
from manager.workload.host_memory import HostNeed, host_need
from manager.workload.memory_answer import MemoryAnswer, largest_micro_batch, memory_of
from manager.workload.memory_device import fit_margin
from manager.workload.profile import WorkloadProfile
from manager.workload.roofline import UntimedWorkError
from manager.workload.traces import RunTraces

_MICRO_DOLLAR = Decimal("0.000001")
REASON_FIT = "does not fit"
REASON_PRICE = "unknown price"
REASON_BATCH = "batch cannot be shared"
REASON_HOST = "host's memory is too small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is the same for all offers of one kind of machine on one cloud and market, price apart."""

    fits: bool
    micro_batch: int | None
    memory: MemoryAnswer | None
    phases: tuple[Phase, ...]
    """Empty when the job does not run there."""
    hours: Interval | None
    training_hours: Interval | None
    assumptions: tuple[Assumption, ...]
    reason: str | None
    host: HostNeed | None = None
    """What the host of a machine with accelerators needs; None for others, and where the job does not run."""
    missing_memory_bytes: float | None = None
    """How much less one replica has than the smallest micro-batch needs; None when it fits or was not judged."""
    calibration_factor: float = 1.0


def judge_machine(
    profile: WorkloadProfile,
    traces: RunTraces,
    offer: Offer,
    accelerator: Accelerator | None,
    assumptions: Assumptions,
    calibration: Calibration | None,
) -> Verdict:
    """Fit and hours on the offer's kind of machine; nothing of its price or region enters."""
    machine = machine_of(profile, offer, accelerator, assumptions)
    if isinstance(machine, str):
        return _impossible(machine)
    limit = micro_batch_limit(profile, replicas=machine.replicas)
    if limit is None:
        return _impossible(_sharing_reason(profile, machine))
    largest, room = _largest(profile, traces, machine, calibration, limit)
    micro_batch = None if largest is None else even_micro_batch(limit, largest)
    memory = memory_on(profile, traces, machine, micro_batch=micro_batch or _smallest(profile, limit))
    if micro_batch is None:
        missing = memory.needed_bytes - room
        return _impossible(
            machine.refusal
            or f"{REASON_FIT}: needs {format_bytes(machine.memory_bytes + missing)}, "
            f"has {format_bytes(machine.memory_bytes)}",
            memory=memory,
            missing_memory_bytes=missing,
        )
    try:
        phases, used = phases_of_run(
            profile,
            traces,
            machine,
            assumptions,
            calibration,
            micro_batch=micro_batch,
            cloud=offer.cloud,
            use_spot=offer.use_spot,
        )
    except UntimedWorkError as error:
        return _impossible(machine.refusal or f"{REASON_SPEED}: {error}", memory=memory)
    total = phases[0].hours
    for phase in phases[1:]:
        total = total.plus(phase.hours)
    return Verdict(
        fits=True,
        micro_batch=micro_batch,
        memory=memory,
        phases=phases,
        hours=total,
        training_hours=next(phase.hours for phase in phases if phase.name == "training"),
        assumptions=used,
        calibration_factor=1.0 if calibration is None else calibration.time_factor,
        reason=machine.refusal,
        host=None if machine.is_cpu else host_need(profile, memory, machine.placement),
    )


def memory_on(profile: WorkloadProfile, traces: RunTraces, machine: Machine, *, micro_batch: int) -> MemoryAnswer:
    """Peak memory of one replica of the machine at this micro-batch."""
    share = micro_batch_limit(profile, replicas=machine.replicas)
    return memory_of(
        traces.on(is_cpu=machine.is_cpu),
        batch=micro_batch,
        length=profile.peak_length,
        device=machine.device,
        rank=traces.rank,
        optimizer=profile.optimizer,
        placement=machine.placement,
        accumulates=share is not None and micro_batch * machine.replicas < profile.batch_size,
    )


def _largest(
    profile: WorkloadProfile, traces: RunTraces, machine: Machine, calibration: Calibration | None, limit: int
) -> tuple[int | None, float]:
    """The largest micro-batch that fits, and the bytes that it may need.

    Own runs say by how much tensors differ from their estimate; the room shrinks by that, the context apart.
    """
    margin = fit_margin().value
    # A run that needed less than its estimate promises nothing for the next.
    factor = max(1.0, (calibration.memory_factor if calibration else None) or 1.0)
    context = 0 if machine.is_cpu else machine.device.context_bytes
    room = context + (machine.memory_bytes * (1 - margin) - context) / factor
    largest = largest_micro_batch(
        traces.on(is_cpu=machine.is_cpu),
        limit=limit,
        memory_bytes=room,
        length=profile.peak_length,
        device=machine.device,
        rank=traces.rank,
        optimizer=profile.optimizer,
        placement=machine.placement,
        margin=0.0,
    )
    if largest is not None and profile.asked_micro_batch is not None and largest < limit:
        return None, room
    return largest, room


def _smallest(profile: WorkloadProfile, limit: int) -> int:
    """The micro-batch that was asked for, else one sample."""
    return 1 if profile.asked_micro_batch is None else limit


def priced(offer: Offer, verdict: Verdict) -> Estimate:
    """The verdict on the offer's kind of machine, with the bill at the offer's price."""
    price = offer.price_usd_per_hour
    host = verdict.host
    reason = verdict.reason or (None if host is None else _host_reason(host, offer))
    if reason is None and price is None:
        reason = f"{REASON_PRICE}: {offer.price_source}"
    lines: tuple[CostLine, ...] = ()
    if price is not None:
        lines = tuple(_cost_line(phase, price) for phase in verdict.phases)
    return Estimate(
        offer=offer,
        fits=verdict.fits,
        micro_batch=verdict.micro_batch,
        memory=verdict.memory,
        hours=verdict.hours,
        training_hours=verdict.training_hours,
        cost_usd=_sum(lines) if lines else None,
        lines=lines,
        assumptions=(*verdict.assumptions, *_host_assumption(host, offer)),
        host_bytes=None if host is None else _host_bytes(host),
        calibration_factor=verdict.calibration_factor,
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


def _host_reason(host: HostNeed, offer: Offer) -> str | None:
    """Why the offer's host does not carry the job; None: it does or may, or its memory is unknown."""
    if offer.host_memory_bytes is None or not host.exceeds(offer.host_memory_bytes):
        return None
    return (
        f"{REASON_HOST}: {format_bytes(host.low.peak_bytes)} at least needed while {host.low.peak}, "
        f"has {format_bytes(offer.host_memory_bytes)}"
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


def _cost_line(phase: Phase, price_usd_per_hour: Decimal) -> CostLine:
    low, expected, high = phase.quantities
    return CostLine(
        name=phase.name,
        quantity=phase.hours,
        unit="h",
        unit_price_usd=price_usd_per_hour,
        total_usd=MoneyInterval(
            low=_rounded(low * price_usd_per_hour),
            expected=_rounded(expected * price_usd_per_hour),
            high=_rounded(high * price_usd_per_hour),
        ),
        assumption=phase.assumption,
    )


def _rounded(amount: Decimal) -> Decimal:
    """As `units.usd`, without its way over text: this runs 33 times per offer."""
    return amount.quantize(_MICRO_DOLLAR, rounding=ROUND_HALF_UP)


def _sum(lines: tuple[CostLine, ...]) -> MoneyInterval:
    return MoneyInterval(
        low=sum((line.total_usd.low for line in lines), Decimal(0)),
        expected=sum((line.total_usd.expected for line in lines), Decimal(0)),
        high=sum((line.total_usd.high for line in lines), Decimal(0)),
    )


def _impossible(
    reason: str, *, memory: MemoryAnswer | None = None, missing_memory_bytes: float | None = None
) -> Verdict:
    return Verdict(
        fits=False,
        micro_batch=None,
        memory=memory,
        phases=(),
        hours=None,
        training_hours=None,
        assumptions=(),
        reason=reason,
        missing_memory_bytes=missing_memory_bytes,
    )


def _sharing_reason(profile: WorkloadProfile, machine: Machine) -> str:
    return f"{REASON_BATCH}: {profile.batch_size} samples over {machine.replicas} devices"
