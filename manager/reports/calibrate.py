"""Measured runs become calibrations of the planner: how long training took, and how much memory, for each device.

A factor is always against the planner's bare estimate, and only of the estimator that is in use: what runs say about
an older one would bend the new one's answers. An estimate that was itself calibrated says so in
`calibration_factor`; that is divided out, else the second run would undo what the first one taught.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from manager.planner.calibration import Calibration, device_keys
from manager.planner.plan import ESTIMATOR
from manager.reports.build import build_report, launched_estimate
from manager.runs.records import RunEvents
from manager.units import SECONDS_PER_HOUR
from tasks.protocol import EventType

MIN_TRAINING_S = 60.0
"""Shorter runs say more about warm-up and overheads than about the speed of the device."""
_ANY_CPU = "*/cpu"
"""No calibration is given for it: one machine's processor says nothing about another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run's actual / estimated, both without calibration."""

    device: tuple[str, ...]
    """Keys under which the run counts, see `manager.planner.calibration.device_keys`."""
    time_factor: float
    """Seconds for an optimizer step, measured / estimated."""
    memory_factor: float | None
    """Peak memory (on a GPU without the CUDA context), measured / estimated; None where the run did not measure it."""
    at_s: float
    """When the run was created, Unix time."""


def calibration_from(runs: Iterable[RunEvents]) -> tuple[Calibration, ...]:
    """Calibrations of each device that at least one run measured: geometric mean of time, largest of memory."""
    by_device: dict[str, list[Measured]] = defaultdict(list)
    for run in runs:
        one = measured(run)
        for device in one.device if one else ():
            if one is not None and device != _ANY_CPU:
                by_device[device].append(one)
    return tuple(_calibration(device, found) for device, found in sorted(by_device.items()))


def measured(run: RunEvents) -> Measured | None:
    """What a run says about its device; None when training did not end, went on after a restart, or had no
    estimate of the estimator in use."""
    record = run.record
    estimate = launched_estimate(record)
    starts = sum(event.type is EventType.STARTED for event in run.events)
    ended = any(event.type is EventType.FINISHED for event in run.events)
    if record.offer is None or estimate is None or estimate.training_hours is None or starts != 1 or not ended:
        return None
    if estimate.estimator != ESTIMATOR:
        return None
    report = build_report(run)
    trained_s = next((phase.duration_s for phase in report.phases if phase.name == "training"), None)
    if not trained_s or trained_s < MIN_TRAINING_S or not report.steps_done or estimate.training_hours.expected <= 0:
        return None
    estimated_s = estimate.training_hours.expected * SECONDS_PER_HOUR / estimate.calibration_factor
    done = report.steps_done / record.plan.profile.steps
    memory = report.gauge("peak_memory")
    return Measured(
        device=device_keys(record.offer.cloud, record.offer.accelerator),
        time_factor=trained_s / (estimated_s * done),
        memory_factor=memory.ratio if memory else None,
        at_s=record.created_at_s,
    )


def _calibration(device: str, found: list[Measured]) -> Calibration:
    times = [math.log(one.time_factor) for one in found]
    memory = [one.memory_factor for one in found if one.memory_factor is not None]
    last = datetime.fromtimestamp(max(one.at_s for one in found), tz=UTC).date().isoformat()
    return Calibration(
        device=device,
        time_factor=math.exp(sum(times) / len(times)),
        memory_factor=max(memory, default=None),
        runs=len(found),
        spread=statistics.stdev(times) if len(times) > 1 else 0.0,
        basis=f"{len(found)} {'run' if len(found) == 1 else 'runs'} on this kind of machine, last {last}",
    )
