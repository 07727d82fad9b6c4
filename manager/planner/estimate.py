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
from manager.planner.machine import Machine, machine_of
from manager.planner.phases import Phase, phases_of_run
from manager.planner.plan import Assumption, CostLine, Estimate
from manager.prices.offer import Offer
from manager.units import Interval, MoneyInterval, format_bytes
from manager.workload.memory import calibrated_bytes, largest_micro_batch, memory_lines, micro_batch_candidates
from manager.workload.profile import MemoryLines, WorkloadProfile

_MICRO_DOLLAR = Decimal("0.000001")
REASON_FIT = "does not fit"
REASON_PRICE = "unknown price"
REASON_BATCH = "batch cannot be shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is the same for all offers of one kind of machine on one cloud and market, price apart."""

    fits: bool
    micro_batch: int | None
    memory: MemoryLines | None
    phases: tuple[Phase, ...]
    """Empty when the job does not run there."""
    hours: Interval | None
    training_hours: Interval | None
    assumptions: tuple[Assumption, ...]
    reason: str | None
    missing_memory_bytes: float | None = None
    """How much less one replica has than the smallest micro-batch needs; None when it fits or was not judged."""
    calibration_factor: float = 1.0


def judge_machine(
    profile: WorkloadProfile,
    offer: Offer,
    accelerator: Accelerator | None,
    assumptions: Assumptions,
    calibration: Calibration | None,
) -> Verdict:
    """Fit and hours on the offer's kind of machine; nothing of its price or region enters."""
    machine = machine_of(profile, offer, accelerator, assumptions)
    if isinstance(machine, str):
        return _impossible(machine)
    candidates = micro_batch_candidates(profile, replicas=machine.replicas)
    if not candidates:
        return _impossible(_sharing_reason(profile, machine))
    memory_factor = (calibration.memory_factor if calibration else None) or 1.0
    micro_batch = largest_micro_batch(
        profile,
        memory_available_bytes=machine.memory_bytes,
        is_cpu=machine.device.is_cpu,
        replicas=machine.replicas,
        memory_factor=memory_factor,
    )
    memory = memory_lines(
        profile, micro_batch=micro_batch or candidates[-1], is_cpu=machine.device.is_cpu, replicas=machine.replicas
    )
    if micro_batch is None:
        needed = calibrated_bytes(memory, memory_factor, is_cpu=machine.device.is_cpu)
        return _impossible(
            f"{REASON_FIT}: needs {format_bytes(needed)}, has {format_bytes(machine.memory_bytes)}",
            memory=memory,
            missing_memory_bytes=needed - machine.memory_bytes,
        )
    phases, used = phases_of_run(
        profile,
        machine,
        assumptions,
        calibration,
        micro_batch=micro_batch,
        cloud=offer.cloud,
        use_spot=offer.use_spot,
    )
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
        reason=None,
    )


def priced(offer: Offer, verdict: Verdict) -> Estimate:
    """The verdict on the offer's kind of machine, with the bill at the offer's price."""
    price = offer.price_usd_per_hour
    reason = verdict.reason
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
        assumptions=verdict.assumptions,
        calibration_factor=verdict.calibration_factor,
        reason=reason,
    )


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
    reason: str, *, memory: MemoryLines | None = None, missing_memory_bytes: float | None = None
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
