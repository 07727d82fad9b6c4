"""The phases of a run, from the launch to the machine's end, in seconds with their band and what they rest on.

A phase is a tuple of plain numbers, because hundreds of kinds of machines have a dozen each whenever something in a
job changes; the bill makes money of them only for what is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from manager.planner.assumptions import AssumedQuantity, Assumptions
from manager.planner.calibration import Calibration
from manager.planner.decoding import decoding_s, rate_name
from manager.planner.judge import Judgement
from manager.planner.machine import Machine
from manager.planner.plan import Assumption
from manager.planner.spot import Ends, SpotBand, SpotRun, best_steps, spot_band
from manager.planner.storage import ExtraRates, disk_need, extra_rates, rented_gib
from manager.planner.variant import StepVariant
from manager.units import SECONDS_PER_HOUR, Interval
from manager.workload.profile import WorkloadProfile

FETCH = "fetch"
"""Bringing the results home: until it is through the machine is billed."""
TRAINING = "training"
REWORK = "spot_rework"
"""Work done again after preemptions, recoveries and launches that were cut short."""
WAITING = "waiting"
"""For capacity after preemptions: nothing is billed then."""
_MEGA = 1e6
_MINUTE_S = 60.0
_BAND_BASIS = (
    "measured over predicted step time of published runs whose source or model the fit had not seen, 10 to 90 %, "
    "at least 5 % each way; where none was measured, by assumption wider than any measured one"
)
_NOTHING = (0.0, 0.0, 0.0)
_RECOVERY = Assumption(
    name="recovery",
    text="assumption: after a preemption the run is launched again and goes on from its last checkpoint, which lies "
    "outside the machine; `run` does neither by itself yet",
)
_EXTRA_PRICES = ("disk_price", "address_price", "egress_price")
_RATE, _WAIT = "preemption_rate", "spot_wait"


class Timed(NamedTuple):
    """One phase."""

    name: str
    low_s: float
    expected_s: float
    high_s: float
    assumption: str | None
    """Name of the assumption that it rests on, or None."""

    @property
    def is_billed(self) -> bool:
        """Whether there is a machine meanwhile."""
        return self.name != WAITING


class Totals(NamedTuple):
    """Of a run, to rank it by; the same as the sums of its phases, but for the last digit."""

    hours: Ends
    """Launch to machine gone."""
    billed_hours: Ends
    """Those of them in which there is a machine."""


class RunPhases(NamedTuple):
    """All phases of a run in their order."""

    timed: tuple[Timed, ...]
    checkpoint_every_steps: int | None = None
    """Chosen for spot machines, so that what preemptions cost is least; None: as the run file says."""
    preemptions: Ends | None = None
    """Expected number on spot machines; None on demand."""


NO_PHASES = RunPhases(())


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What is the same on all machines of a cloud, in three groups between which computation stands."""

    before: tuple[Timed, ...]
    before_s: Ends
    checkpoints: Timed
    after: tuple[Timed, ...]
    after_s: Ends
    rows: Mapping[str, AssumedQuantity]
    stated: tuple[Assumption, ...]


@dataclass(slots=True, kw_only=True)
class PhaseBook:
    """Makes the phases of judged machines and remembers what they share."""

    assumptions: Assumptions
    _fixed: dict[tuple[int, str, bool], _Fixed] = field(default_factory=dict)
    _disks: dict[tuple[int, str, int], tuple[int, ExtraRates]] = field(default_factory=dict)
    _profiles: list[WorkloadProfile] = field(default_factory=list)
    """Keeps the objects alive whose identity is a key."""

    def totals(self, judgement: Judgement, *, cloud: str, use_spot: bool, calibration: Calibration | None) -> Totals:
        """Hours of a run; arguments as `phases`, and much quicker."""
        parts = self._sums(judgement, cloud, use_spot=use_spot, calibration=calibration)
        if not use_spot:
            written = parts.fixed.checkpoints
            ends = (written.low_s, written.expected_s, written.high_s)
            hours = _in_hours(parts.before_s, parts.work_s, ends, parts.after_s)
            return Totals(hours, hours)
        _, band = _band_on_spot(parts, judgement)
        billed = (parts.before_s, parts.work_s, band.writing_s, parts.after_s, band.lost_s)
        return Totals(_in_hours(*billed, band.waited_s), _in_hours(*billed))

    def phases(self, judgement: Judgement, *, cloud: str, use_spot: bool, calibration: Calibration | None) -> RunPhases:
        """All phases in their order.

        Args:
            judgement: one with seconds.
            cloud: where the machine is.
            use_spot: whether it can be preempted.
            calibration: what own runs say of its speed, or None.
        """
        parts = self._sums(judgement, cloud, use_spot=use_spot, calibration=calibration)
        fixed, name = parts.fixed, parts.name
        before = (*fixed.before, Timed("baseline", *parts.test_s, name))
        work = (Timed(TRAINING, *parts.training_s, name), Timed("evaluation", *parts.validation_s, name))
        after = (Timed("final", *parts.test_s, name), *fixed.after)
        if not use_spot:
            return RunPhases((*before, *work, fixed.checkpoints, *after))
        every, band = _band_on_spot(parts, judgement)
        written = Timed(fixed.checkpoints.name, *band.writing_s, fixed.checkpoints.assumption)
        rework = Timed(REWORK, *band.lost_s, fixed.rows[_RATE].name)
        waiting = Timed(WAITING, *band.waited_s, fixed.rows[_WAIT].name)
        return RunPhases((*before, *work, written, *after, rework, waiting), every, band.preemptions)

    def _sums(self, judgement: Judgement, cloud: str, *, use_spot: bool, calibration: Calibration | None) -> _Parts:
        profile, machine, seconds = judgement.variant.profile, judgement.machine, judgement.seconds
        assert machine is not None
        assert seconds is not None
        fixed = self._fixed_of(profile, cloud, use_spot=use_spot)
        name, band = self._band(profile, machine, calibration, cloud)
        factor = 1.0 if calibration is None else calibration.time_factor
        data = profile.data
        decodes = rate_name(data.kind) is not None

        def computed(seconds: float, samples: float) -> Ends:
            """Computed seconds with their band, and the decoding of so many samples."""
            low, expected, high = seconds * band[0], seconds * band[1], seconds * band[2]
            if not decodes:
                return low, expected, high
            # A measured factor holds for all that a phase does.
            decoding = decoding_s(profile.task, data, samples / machine.replicas, fixed.rows).scaled(factor)
            return low + decoding.low, expected + decoding.expected, high + decoding.high

        test_s = computed(seconds.test_s, data.test_samples)
        training_s = computed(seconds.training_s, profile.samples_seen)
        validation_s = computed(seconds.validation_s, profile.evaluations * data.validation_samples)
        return _Parts(
            fixed=fixed,
            name=name,
            test_s=test_s,
            training_s=training_s,
            validation_s=validation_s,
            before_s=_plus(fixed.before_s, test_s),
            work_s=_plus(training_s, validation_s),
            after_s=_plus(test_s, fixed.after_s),
        )

    def stated(
        self, judgement: Judgement, *, cloud: str, use_spot: bool, calibration: Calibration | None
    ) -> tuple[Assumption, ...]:
        """What the phases take for granted, for people."""
        profile, machine = judgement.variant.profile, judgement.machine
        assert machine is not None
        fixed = self._fixed_of(profile, cloud, use_spot=use_spot)
        billed = [self.assumptions.of(name, cloud) for name in _EXTRA_PRICES]
        return (
            *self._stated_band(profile, machine, calibration, cloud),
            *fixed.stated,
            *(row.stated() for row in billed if row.value.high > 0),
            *((_RECOVERY,) if use_spot else ()),
        )

    def disk_gib(self, variant: StepVariant, cloud: str) -> int:
        """The disk to ask for on each node."""
        return self._storage(variant, cloud, 1)[0]

    def extra_rates(self, variant: StepVariant, cloud: str, num_nodes: int) -> ExtraRates:
        """What disks, addresses and traffic cost an hour and once."""
        return self._storage(variant, cloud, num_nodes)[1]

    def _storage(self, variant: StepVariant, cloud: str, num_nodes: int) -> tuple[int, ExtraRates]:
        profile = variant.profile
        key = (id(profile), cloud, num_nodes)
        known = self._disks.get(key)
        if known is None:
            self._profiles.append(profile)
            kept = variant.keep_checkpoints
            # On spot machines there are more checkpoints than `profile.checkpoints`, and as many of them are kept.
            need = disk_need(profile, self.assumptions, cloud=cloud, keep_checkpoints=kept, checkpoints=profile.steps)
            gib = rented_gib(need)
            sent = profile.export_file_bytes
            rates = extra_rates(self.assumptions, cloud=cloud, gib=gib, sent_bytes=sent, nodes=num_nodes)
            known = self._disks[key] = gib, rates
        return known

    def _fixed_of(self, profile: WorkloadProfile, cloud: str, *, use_spot: bool) -> _Fixed:
        key = (id(profile), cloud, use_spot)
        known = self._fixed.get(key)
        if known is None:
            self._profiles.append(profile)
            known = self._fixed[key] = _fixed_phases(profile, cloud, self.assumptions, use_spot=use_spot)
        return known

    def _band(
        self, profile: WorkloadProfile, machine: Machine, calibration: Calibration | None, cloud: str
    ) -> tuple[str, Ends]:
        """Calibrated: the measured factor; else the stated band. Unmeasured data widen either."""
        if calibration is not None:
            name, band = "calibration", calibration.band()
        elif machine.is_cpu:
            # The unknown speed of the cores outweighs the error of the roofline and is stated in its place.
            row = self.assumptions.of("cpu_flops_per_vcpu", cloud)
            name, band = row.name, _inverse(row.value.scaled(1 / row.value.expected))
        else:
            name, band = "speed_band", machine.speed.band
        if profile.data.measured:
            return name, (band.low, band.expected, band.high)
        wider = self.assumptions.of("unmeasured_data_band", cloud).value
        return name, (band.low * wider.low, band.expected * wider.expected, band.high * wider.high)

    def _stated_band(
        self, profile: WorkloadProfile, machine: Machine, calibration: Calibration | None, cloud: str
    ) -> list[Assumption]:
        stated = [Assumption(name="speed", text=machine.speed.basis)]
        if calibration is not None:
            text = f"{calibration.time_factor:.2f} x roofline; {calibration.basis}"
            stated.append(Assumption(name="calibration", text=text))
        elif machine.is_cpu:
            stated.append(self.assumptions.of("cpu_flops_per_vcpu", cloud).stated())
        else:
            band = machine.speed.band
            text = f"{band.low:.2f} to {band.high:.2f} x expected; {_BAND_BASIS}"
            stated.append(Assumption(name="speed_band", text=text))
        if machine.link is not None:
            stated.append(Assumption(name="link", text=_link_text(machine)))
        if not profile.data.measured:
            stated.append(self.assumptions.of("unmeasured_data_band", cloud).stated())
        return stated


def _link_text(machine: Machine) -> str:
    link = machine.link
    assert link is not None
    rate = f"{link.bytes_per_s / 1e9:.0f} GB/s each way"
    if machine.sharding == "fsdp":
        return f"weights and gradients of {machine.replicas} shards travel over {link.name}, {rate}"
    return f"gradients of {machine.replicas} devices are averaged over {link.name}, {rate}"


def _fixed_phases(profile: WorkloadProfile, cloud: str, assumptions: Assumptions, *, use_spot: bool) -> _Fixed:
    kind = profile.data.kind
    rows = {name: assumptions.of(name, cloud) for name in _names(kind, cloud, use_spot=use_spot)}
    is_text = rate_name(kind) is None
    tokens = _per_rate(_all_tokens(profile), rows["tokenize_rate"], unit=1.0) if is_text else _NOTHING
    disk = rows["disk_rate"]
    before = (
        Timed("boot", *_seconds(rows["boot"]), "boot"),
        Timed("setup", *_seconds(rows["setup"]), "setup"),
        Timed("download", *_download_s(profile, rows, cloud), _download_rate(profile, cloud)),
        Timed("start", *_seconds(rows["start"]), "start"),
        Timed("data", *tokens, "tokenize_rate" if is_text else None),
    )
    after = (
        Timed("saving", *_per_rate(profile.export_file_bytes, disk, unit=_MEGA), "disk_rate"),
        _fetch(profile, rows, cloud),
        Timed("teardown", *_seconds(rows["teardown"]), "teardown"),
    )
    return _Fixed(
        before=before,
        before_s=_sum(before),
        checkpoints=Timed(
            "checkpoints", *_per_rate(profile.checkpoints * profile.checkpoint_bytes, disk, unit=_MEGA), "disk_rate"
        ),
        after=after,
        after_s=_sum(after),
        rows=rows,
        stated=tuple(row.stated() for row in rows.values()),
    )


def _download_s(profile: WorkloadProfile, rows: Mapping[str, AssumedQuantity], cloud: str) -> Ends:
    if cloud == "local":
        return _per_rate(0 if profile.model_is_here else profile.weights_bytes, rows["hub_rate"], unit=_MEGA)
    from_hub = (profile.weights_bytes if profile.model_from_hub else 0) + (
        profile.data.bytes if profile.data_from_hub else 0
    )
    from_home = profile.weights_bytes + profile.data.bytes - from_hub
    moved = _per_rate(from_hub, rows["hub_rate"], unit=_MEGA)
    sent = _per_rate(from_home, rows["upload_rate"], unit=_MEGA)
    return moved[0] + sent[0], moved[1] + sent[1], moved[2] + sent[2]


def _download_rate(profile: WorkloadProfile, cloud: str) -> str:
    """The assumption that the phase rests on: a model that lies here is sent from here."""
    return "hub_rate" if cloud == "local" or profile.model_from_hub else "upload_rate"


def _fetch(profile: WorkloadProfile, rows: Mapping[str, AssumedQuantity], cloud: str) -> Timed:
    """Seconds for the tuned model to come home, beside which events and log are nothing, and what they rest on."""
    if cloud == "local":
        return Timed(FETCH, *_NOTHING, None)  # The training program writes into the run's folder.
    return Timed(FETCH, *_per_rate(profile.export_file_bytes, rows["fetch_rate"], unit=_MEGA), "fetch_rate")


class _Parts(NamedTuple):
    """Seconds of a run, as preemptions see them."""

    fixed: _Fixed
    name: str
    """Of the assumption that computed seconds rest on."""
    test_s: Ends
    training_s: Ends
    validation_s: Ends
    before_s: Ends
    """From the request to the first step."""
    work_s: Ends
    after_s: Ends
    """Behind the last checkpoint."""


def _band_on_spot(parts: _Parts, judgement: Judgement) -> tuple[int, SpotBand]:
    """Optimizer steps between checkpoints, and what preemptions and checkpoints add."""
    variant, rows = judgement.variant, parts.fixed.rows
    profile, rate, machine = variant.profile, rows[_RATE].value, judgement.machine
    assert machine is not None
    run = SpotRun(
        before_s=parts.before_s,
        work_s=parts.work_s,
        after_s=parts.after_s,
        checkpoint_s=_per_rate(profile.checkpoint_bytes, rows["disk_rate"], unit=_MEGA),
        recovery_s=parts.fixed.before_s,
        wait_s=_seconds(rows[_WAIT]),
        rate_per_hour=(rate.low, rate.expected, rate.high),
        nodes=machine.num_nodes,
    )
    # Never fewer than on demand: those are what the run keeps its best state in.
    usual = math.ceil(profile.steps / max(1, profile.checkpoints))
    every = variant.checkpoint_every_steps or min(usual, best_steps(run, profile.steps))
    return every, spot_band(run, interval_s=every * run.work_s[1] / profile.steps)


def _plus(one: Ends, other: Ends) -> Ends:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _in_hours(*parts: Ends) -> Ends:
    low = expected = high = 0.0
    for part in parts:
        low, expected, high = low + part[0], expected + part[1], high + part[2]
    return low / SECONDS_PER_HOUR, expected / SECONDS_PER_HOUR, high / SECONDS_PER_HOUR


def _sum(timed: Sequence[Timed]) -> Ends:
    return (
        sum(phase.low_s for phase in timed),
        sum(phase.expected_s for phase in timed),
        sum(phase.high_s for phase in timed),
    )


def _all_tokens(profile: WorkloadProfile) -> float:
    data = profile.data
    return (data.train_samples + data.validation_samples + data.test_samples) * data.mean_tokens


def _names(kind: str, cloud: str, *, use_spot: bool) -> Sequence[str]:
    moved = ("hub_rate",) if cloud == "local" else ("hub_rate", "upload_rate", "fetch_rate")
    names = ("boot", "setup", *moved, "start", rate_name(kind) or "tokenize_rate", "disk_rate", "teardown")
    return (*names, _RATE, _WAIT) if use_spot else names


def _seconds(row: AssumedQuantity) -> Ends:
    """Of a time that is assumed in seconds or minutes."""
    unit = _MINUTE_S if row.unit == "min" else 1.0
    return row.value.low * unit, row.value.expected * unit, row.value.high * unit


def _per_rate(amount: float, row: AssumedQuantity, *, unit: float) -> Ends:
    """Seconds for an amount at an assumed rate per second; the fastest rate gives the low end."""
    rate, amount = row.value, amount / unit
    return amount / rate.high, amount / rate.expected, amount / rate.low


def _inverse(interval: Interval) -> Interval:
    return Interval(low=1 / interval.high, expected=1 / interval.expected, high=1 / interval.low)
