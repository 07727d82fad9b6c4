"""The phases of a run, from the launch to the machine's end, in hours with their band and what they rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.planner.assumptions import AssumedQuantity, Assumptions
from manager.planner.calibration import Calibration
from manager.planner.decoding import NOTHING, decoding_s, rate_name
from manager.planner.machine import Machine
from manager.planner.plan import Assumption
from manager.units import SECONDS_PER_HOUR, Interval
from manager.workload.memory_answer import EVALUATION_ROWS
from manager.workload.profile import WorkloadProfile
from manager.workload.roofline import evaluation_seconds, step_seconds
from manager.workload.traces import RunTraces

FETCH = "fetch"
"""Bringing the results home: until it is through the machine is billed."""
_MEGA = 1e6
_MINUTE_S = 60.0
_LONGEST_DIGITS = 9
_BAND_BASIS = (
    "measured over predicted step time of published runs whose source or model the fit had not seen, 10 to 90 %, "
    "at least 5 % each way; where none was measured, by assumption wider than any measured one"
)
_NOTHING_BESIDES = ("local", "slurm")
"""Clouds whose price per hour covers disk and network."""
_NOT_COUNTED = Assumption(
    name="not_counted", text="disks, public addresses and outgoing traffic (egress), which providers bill apart"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One line of the bill before it has a price."""

    name: str
    hours: Interval
    quantities: tuple[Decimal, Decimal, Decimal]
    """The ends of `hours` as decimals, so that a price multiplies without binary error."""
    assumption: str | None


def phases_of_run(
    profile: WorkloadProfile,
    traces: RunTraces,
    machine: Machine,
    assumptions: Assumptions,
    calibration: Calibration | None,
    *,
    micro_batch: int,
    cloud: str,
    use_spot: bool,
) -> tuple[tuple[Phase, ...], tuple[Assumption, ...]]:
    """All phases in their order, and the assumptions behind them."""
    kind = profile.data.kind
    rows = {name: assumptions.of(name, cloud) for name in _names(kind, cloud, use_spot=use_spot)}
    compute = _compute_band(profile, machine, assumptions, calibration, cloud)

    # A measured factor holds for all that a phase does.
    factor = 1.0 if calibration is None else calibration.time_factor

    def decoded(seconds: float, samples: int) -> Interval:
        """Computed seconds with their band, and the decoding of so many samples."""
        decoding = decoding_s(profile.task, profile.data, samples / machine.replicas, rows)
        return compute.band.scaled(seconds).plus(decoding.scaled(factor))

    def evaluation_s(samples: int, times: int = 1) -> Interval:
        return decoded(times * _evaluation_s(profile, traces, machine, micro_batch, samples), times * samples)

    training_s = decoded(_training_s(profile, traces, machine, micro_batch), profile.samples_seen)
    is_text = rate_name(kind) is None
    tokens_s = _per_rate(_all_tokens(profile), rows["tokenize_rate"], unit=1.0) if is_text else NOTHING
    timed: tuple[tuple[str, Interval, str | None], ...] = (
        ("boot", _seconds(rows["boot"]), "boot"),
        ("setup", _seconds(rows["setup"]), "setup"),
        ("download", _download_s(profile, rows, cloud), _download_rate(profile, cloud)),
        ("start", _seconds(rows["start"]), "start"),
        ("data", tokens_s, "tokenize_rate" if is_text else None),
        ("baseline", evaluation_s(profile.data.test_samples), compute.name),
        ("training", training_s, compute.name),
        ("evaluation", evaluation_s(profile.data.validation_samples, profile.evaluations), compute.name),
        (
            "checkpoints",
            _per_rate(profile.checkpoints * profile.checkpoint_bytes, rows["disk_rate"], unit=_MEGA),
            "disk_rate",
        ),
        ("final", evaluation_s(profile.data.test_samples), compute.name),
        ("saving", _per_rate(profile.export_file_bytes, rows["disk_rate"], unit=_MEGA), "disk_rate"),
        (FETCH, *_fetch(profile, rows, cloud)),
        ("teardown", _seconds(rows["teardown"]), "teardown"),
    )
    if use_spot:
        timed = (*timed, ("spot_rework", _spot_rework_s([seconds for _, seconds, _ in timed], rows), "spot_rework"))
    phases = tuple(_phase(name, seconds, assumption) for name, seconds, assumption in timed)
    stated = [*compute.assumptions, *(row.stated() for row in rows.values())]
    return phases, (*stated, *([] if cloud in _NOTHING_BESIDES else [_NOT_COUNTED]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compute:
    """The band around computed seconds, and the assumptions that it stands for."""

    name: str
    band: Interval
    assumptions: tuple[Assumption, ...]


def _compute_band(
    profile: WorkloadProfile,
    machine: Machine,
    assumptions: Assumptions,
    calibration: Calibration | None,
    cloud: str,
) -> _Compute:
    """Calibrated: the measured factor; else the stated band. Unmeasured data and several devices widen either."""
    stated: list[Assumption] = [Assumption(name="speed", text=machine.speed.basis)]
    if calibration is not None:
        name, band = "calibration", calibration.band()
        stated.append(Assumption(name=name, text=f"{calibration.time_factor:.2f} x roofline; {calibration.basis}"))
    elif machine.is_cpu:
        # The unknown speed of the cores outweighs the error of the roofline and is stated in its place.
        row = assumptions.of("cpu_flops_per_vcpu", cloud)
        name, band = row.name, _inverse(row.value.scaled(1 / row.value.expected))
        stated.append(row.stated())
    else:
        name, band = "speed_band", machine.speed.band
        stated.append(Assumption(name=name, text=f"{band.low:.2f} to {band.high:.2f} x expected; {_BAND_BASIS}"))
    if machine.link is not None:
        stated.append(Assumption(name="link", text=_link_text(machine)))
    if not profile.data.measured:
        row = assumptions.of("unmeasured_data_band", cloud)
        band = _product(band, row.value)
        stated.append(row.stated())
    return _Compute(name=name, band=band, assumptions=tuple(stated))


def _link_text(machine: Machine) -> str:
    link = machine.link
    assert link is not None
    rate = f"{link.bytes_per_s / 1e9:.0f} GB/s each way"
    return f"gradients of {machine.replicas} devices are averaged over {link.name}, {rate}"


def _training_s(profile: WorkloadProfile, traces: RunTraces, machine: Machine, micro_batch: int) -> float:
    def step_s(samples: float) -> float:
        """One optimizer step over so many samples, in passes of equal size."""
        share = math.ceil(samples / machine.replicas)
        passes = math.ceil(share / micro_batch)
        step = step_seconds(
            traces.timed(is_cpu=machine.is_cpu),
            machine.speed,
            batch=share / passes,
            length=profile.mean_step_length(min(micro_batch, share) * machine.replicas),
            micro_batches=passes,
            replicas=machine.replicas,
            link=machine.link,
            rank=traces.rank or 0,
            optimizer=profile.optimizer,
        )
        return step.total_s

    short, rest = _short_steps(profile)
    full_s = (profile.steps - short) * step_s(profile.batch_size) if profile.steps > short else 0.0
    return full_s + (short * step_s(rest) if short else 0.0)


def _short_steps(profile: WorkloadProfile) -> tuple[int, float]:
    """Steps at the end of epochs that have less than a batch, and their mean samples.

    As few as can be with a sample each: a step takes about as long as a constant and its samples, so that the sum over
    the short steps does not depend on how what is missing is spread among them.
    """
    batch = profile.batch_size
    missing = profile.steps * batch - profile.samples_seen
    if missing <= 0 or batch == 1:
        return 0, 0.0
    short = min(profile.steps, math.ceil(missing / (batch - 1)))
    return short, max(1.0, batch - missing / short)


def _evaluation_s(
    profile: WorkloadProfile, traces: RunTraces, machine: Machine, micro_batch: int, samples: int
) -> float:
    return evaluation_seconds(
        traces.timed(is_cpu=machine.is_cpu),
        machine.speed,
        samples=samples,
        batch=EVALUATION_ROWS * micro_batch,
        length=profile.data.padded_tokens_at(EVALUATION_ROWS * micro_batch * machine.replicas),
        replicas=machine.replicas,
        rank=traces.rank or 0,
    )


def _download_s(profile: WorkloadProfile, rows: dict[str, AssumedQuantity], cloud: str) -> Interval:
    if cloud == "local":
        return _per_rate(0 if profile.model_is_here else profile.weights_bytes, rows["hub_rate"], unit=_MEGA)
    from_home = profile.data.bytes + (0 if profile.model_from_hub else profile.weights_bytes)
    from_hub = profile.weights_bytes if profile.model_from_hub else 0
    moved = _per_rate(from_hub, rows["hub_rate"], unit=_MEGA)
    return moved.plus(_per_rate(from_home, rows["upload_rate"], unit=_MEGA))


def _download_rate(profile: WorkloadProfile, cloud: str) -> str:
    """The assumption that the phase rests on: a model that lies here is sent from here."""
    return "hub_rate" if cloud == "local" or profile.model_from_hub else "upload_rate"


def _fetch(profile: WorkloadProfile, rows: dict[str, AssumedQuantity], cloud: str) -> tuple[Interval, str | None]:
    """Seconds for the tuned model to come home, beside which events and log are nothing, and what they rest on."""
    if cloud == "local":
        return NOTHING, None  # The training program writes into the run's folder.
    return _per_rate(profile.export_file_bytes, rows["fetch_rate"], unit=_MEGA), "fetch_rate"


def _spot_rework_s(phases_s: Sequence[Interval], rows: dict[str, AssumedQuantity]) -> Interval:
    """What preemptions cost: a share of all the other time of the run."""
    share = rows["spot_rework"].value
    total = phases_s[0]
    for seconds in phases_s[1:]:
        total = total.plus(seconds)
    return _product(total, share)


def _all_tokens(profile: WorkloadProfile) -> float:
    data = profile.data
    return (data.train_samples + data.validation_samples + data.test_samples) * data.mean_tokens


def _names(kind: str, cloud: str, *, use_spot: bool) -> Sequence[str]:
    moved = ("hub_rate",) if cloud == "local" else ("hub_rate", "upload_rate", "fetch_rate")
    names = ("boot", "setup", *moved, "start", rate_name(kind) or "tokenize_rate", "disk_rate", "teardown")
    return (*names, "spot_rework") if use_spot else names


def _phase(name: str, seconds: Interval, assumption: str | None) -> Phase:
    ends = tuple(
        round(end / SECONDS_PER_HOUR, _LONGEST_DIGITS) for end in (seconds.low, seconds.expected, seconds.high)
    )
    low, expected, high = ends
    decimals = (Decimal(repr(low)), Decimal(repr(expected)), Decimal(repr(high)))
    hours = Interval(low=low, expected=expected, high=high)
    return Phase(name=name, hours=hours, quantities=decimals, assumption=assumption)


def _seconds(row: AssumedQuantity) -> Interval:
    return row.value.scaled(_MINUTE_S if row.unit == "min" else 1.0)


def _per_rate(amount: float, row: AssumedQuantity, *, unit: float) -> Interval:
    """Seconds for an amount at an assumed rate per second; the fastest rate gives the low end."""
    return _inverse(row.value).scaled(amount / unit)


def _inverse(interval: Interval) -> Interval:
    return Interval(low=1 / interval.high, expected=1 / interval.expected, high=1 / interval.low)


def _product(one: Interval, other: Interval) -> Interval:
    return Interval(low=one.low * other.low, expected=one.expected * other.expected, high=one.high * other.high)
