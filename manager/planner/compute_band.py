"""The band around computed seconds: from own runs, the assumed speed of cores, or the fit's own error."""

from __future__ import annotations

from manager.planner.assumptions import Assumptions
from manager.planner.calibration import Calibration
from manager.planner.machine import FSDP, Machine
from manager.planner.plan import Assumption
from manager.planner.spot import Ends
from manager.units import Interval
from manager.workload.profile import WorkloadProfile

_BAND_BASIS = (
    "measured over predicted step time of published runs whose source or model the fit had not seen, 10 to 90 %, "
    "at least 5 % each way; where none was measured, by assumption wider than any measured one"
)


def compute_band(
    assumptions: Assumptions, profile: WorkloadProfile, machine: Machine, calibration: Calibration | None, cloud: str
) -> tuple[str, Ends]:
    """Name of the assumption behind it, and factors on the expected seconds.

    Calibrated: the measured factor; else the stated band. Unmeasured data widen either.
    """
    if calibration is not None:
        name, band = "calibration", calibration.band()
    elif machine.is_cpu:
        # The unknown speed of the cores outweighs the error of the roofline and is stated in its place.
        row = assumptions.of("cpu_flops_per_vcpu", cloud)
        name, band = row.name, _inverse(row.value.scaled(1 / row.value.expected))
    else:
        name, band = "speed_band", machine.speed.band
    if profile.data.measured:
        return name, (band.low, band.expected, band.high)
    wider = assumptions.of("unmeasured_data_band", cloud).value
    return name, (band.low * wider.low, band.expected * wider.expected, band.high * wider.high)


def stated_band(
    assumptions: Assumptions, profile: WorkloadProfile, machine: Machine, calibration: Calibration | None, cloud: str
) -> list[Assumption]:
    """What it stands for, for people."""
    stated = [Assumption(name="speed", text=machine.speed.basis)]
    if calibration is not None:
        text = f"{calibration.time_factor:.2f} x roofline; {calibration.basis}"
        stated.append(Assumption(name="calibration", text=text))
    elif machine.is_cpu:
        stated.append(assumptions.of("cpu_flops_per_vcpu", cloud).stated())
    else:
        band = machine.speed.band
        text = f"{band.low:.2f} to {band.high:.2f} x expected; {_BAND_BASIS}"
        stated.append(Assumption(name="speed_band", text=text))
    if machine.link is not None:
        stated.append(Assumption(name="link", text=_link_text(machine)))
    if not profile.data.measured:
        stated.append(assumptions.of("unmeasured_data_band", cloud).stated())
    return stated


def _link_text(machine: Machine) -> str:
    link = machine.link
    assert link is not None
    rate = f"{link.bytes_per_s / 1e9:.0f} GB/s each way"
    if machine.sharding == FSDP:
        return f"weights and gradients of {machine.replicas} shards travel over {link.name}, {rate}"
    return f"gradients of {machine.replicas} devices are averaged over {link.name}, {rate}"


def _inverse(interval: Interval) -> Interval:
    return Interval(low=1 / interval.high, expected=1 / interval.expected, high=1 / interval.low)
