"""The phases of a run, from the launch to the machine's end, in seconds with their band and what they rest on.

A phase is a tuple of plain numbers, because hundreds of kinds of machines have a dozen each whenever something in a
job changes; the bill makes money of them only for what is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from manager.planner.assumptions import Assumptions
from manager.planner.calibration import Calibration
from manager.planner.compute_band import compute_band, stated_band
from manager.planner.decoding import decoding_s, rate_name
from manager.planner.fixed_phases import (
    MEGA,
    RATE,
    WAIT,
    WAITING,
    FixedPhases,
    Timed,
    fixed_phases,
    per_rate,
    seconds_of,
)
from manager.planner.judge import Judgement
from manager.planner.plan import Assumption
from manager.planner.preemption import Preemption, best_interval_steps
from manager.planner.probe import PROBE, probe_s
from manager.planner.shape import LOCAL
from manager.planner.spot import EXPECTED, Ends, SpotBand, SpotRun, spot_band
from manager.planner.storage import ExtraRates, disk_need, extra_rates, rented_gib
from manager.planner.traffic import NOWHERE, Places, traffic_extras
from manager.planner.variant import StepVariant
from manager.units import SECONDS_PER_HOUR
from manager.workload.profile import WorkloadProfile

TRAINING, EVALUATION = "training", "evaluation"
REWORK = "spot_rework"
"""Work done again after preemptions, recoveries and launches that were cut short."""
_RECOVERY = Assumption(
    name="recovery",
    text="assumption: after a preemption the run is launched again and goes on from its last checkpoint, which lies "
    "outside the machine; `run` does neither by itself yet",
)
_EXTRA_PRICES = ("disk_price", "address_price", "egress_price")


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


@dataclass(slots=True, kw_only=True)
class PhaseBook:
    """Makes the phases of judged machines and remembers what they share."""

    assumptions: Assumptions
    places: Places = NOWHERE
    """Of data and results."""
    _fixed: dict[tuple[int, str, bool, int], FixedPhases] = field(default_factory=dict)
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
        before = (*fixed.before, Timed(PROBE, *parts.probe_s, name), Timed("baseline", *parts.test_s, name))
        work = (Timed(TRAINING, *parts.training_s, name), Timed(EVALUATION, *parts.validation_s, name))
        after = (Timed("final", *parts.test_s, name), *fixed.after)
        if not use_spot:
            return RunPhases((*before, *work, fixed.checkpoints, *after))
        every, band = _band_on_spot(parts, judgement)
        written = Timed(fixed.checkpoints.name, *band.writing_s, fixed.checkpoints.assumption)
        rework = Timed(REWORK, *band.lost_s, fixed.rows[RATE].name)
        waiting = Timed(WAITING, *band.waited_s, fixed.rows[WAIT].name)
        return RunPhases((*before, *work, written, *after, rework, waiting), every, band.preemptions)

    def spot_run(self, judgement: Judgement, *, cloud: str, calibration: Calibration | None) -> SpotRun:
        """The run as preemptions see it; arguments as `phases`."""
        return _spot_run(self._sums(judgement, cloud, use_spot=True, calibration=calibration), judgement)

    def _sums(self, judgement: Judgement, cloud: str, *, use_spot: bool, calibration: Calibration | None) -> _Parts:
        profile, machine, seconds = judgement.variant.profile, judgement.machine, judgement.seconds
        assert machine is not None
        assert seconds is not None
        fixed = self._fixed_of(profile, cloud, use_spot=use_spot, num_nodes=machine.num_nodes)
        name, band = compute_band(self.assumptions, profile, machine, calibration, cloud)
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
        probed_s = probe_s(
            judgement,
            training_s=training_s,
            validation_s=validation_s,
            checkpoint_s=_checkpoint_s(profile, fixed),
        )
        return _Parts(
            fixed=fixed,
            name=name,
            probe_s=probed_s,
            test_s=test_s,
            training_s=training_s,
            validation_s=validation_s,
            before_s=_plus(fixed.before_s, _plus(probed_s, test_s)),
            work_s=_plus(training_s, validation_s),
            after_s=_plus(test_s, fixed.after_s),
        )

    def least_s(self, profile: WorkloadProfile, cloud: str, *, use_spot: bool) -> float:
        """Expected seconds of what does not depend on the machine: each run there takes at least as long."""
        fixed = self._fixed_of(profile, cloud, use_spot=use_spot, num_nodes=1)
        return fixed.before_s[EXPECTED] + fixed.after_s[EXPECTED]

    def stated(
        self, judgement: Judgement, *, cloud: str, use_spot: bool, calibration: Calibration | None
    ) -> tuple[Assumption, ...]:
        """What the phases take for granted, for people."""
        profile, machine = judgement.variant.profile, judgement.machine
        assert machine is not None
        fixed = self._fixed_of(profile, cloud, use_spot=use_spot, num_nodes=machine.num_nodes)
        traffic = traffic_extras(self.assumptions, self.places, profile, cloud=cloud, nodes=machine.num_nodes)
        rows = [*(self.assumptions.of(name, cloud) for name in _EXTRA_PRICES), *(extra.price for extra in traffic)]
        billed = list(dict.fromkeys(rows))
        return (
            *stated_band(self.assumptions, profile, machine, calibration, cloud),
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

    def sent_home_bytes(self, profile: WorkloadProfile, cloud: str) -> float:
        """The tuned model, unless it stays in the bucket."""
        return 0.0 if self.places.model_stays and cloud != LOCAL else profile.export_file_bytes

    def _storage(self, variant: StepVariant, cloud: str, num_nodes: int) -> tuple[int, ExtraRates]:
        profile = variant.profile
        key = (id(profile), cloud, num_nodes)
        known = self._disks.get(key)
        if known is None:
            self._profiles.append(profile)
            kept = variant.keep_checkpoints
            # On spot machines there are more checkpoints than `profile.checkpoints`, and as many of them are kept.
            need = disk_need(profile, self.assumptions, cloud=cloud, keep_checkpoints=kept, checkpoints=profile.steps)
            gib = rented_gib(need, cloud=cloud)
            sent = self.sent_home_bytes(profile, cloud)
            traffic = traffic_extras(self.assumptions, self.places, profile, cloud=cloud, nodes=num_nodes)
            rates = extra_rates(
                self.assumptions, cloud=cloud, gib=gib, sent_bytes=sent, nodes=num_nodes, traffic=traffic
            )
            known = self._disks[key] = gib, rates
        return known

    def _fixed_of(self, profile: WorkloadProfile, cloud: str, *, use_spot: bool, num_nodes: int) -> FixedPhases:
        key = (id(profile), cloud, use_spot, num_nodes)
        known = self._fixed.get(key)
        if known is None:
            self._profiles.append(profile)
            known = self._fixed[key] = fixed_phases(
                profile, cloud, self.assumptions, use_spot=use_spot, num_nodes=num_nodes
            )
        return known


class _Parts(NamedTuple):
    """Seconds of a run, as preemptions see them."""

    fixed: FixedPhases
    name: str
    """Of the assumption that computed seconds rest on."""
    probe_s: Ends
    test_s: Ends
    training_s: Ends
    validation_s: Ends
    before_s: Ends
    """From the request to the first step."""
    work_s: Ends
    after_s: Ends
    """Behind the last checkpoint."""


def checkpoint_steps(variant: StepVariant, work_s: float, preemption: Preemption) -> int:
    """Optimizer steps between checkpoints on spot machines: as asked, else where the expected time is least.

    Never more than on demand: in those checkpoints the run keeps its best state.
    """
    steps = variant.profile.steps
    usual = math.ceil(steps / max(1, variant.profile.checkpoints))
    return variant.checkpoint_every_steps or min(usual, best_interval_steps(steps, work_s / steps, preemption))


def _band_on_spot(parts: _Parts, judgement: Judgement) -> tuple[int, SpotBand]:
    """Optimizer steps between checkpoints, and what preemptions and checkpoints add."""
    run = _spot_run(parts, judgement)
    every = checkpoint_steps(judgement.variant, run.work_s[1], run.preemption(EXPECTED))
    return every, spot_band(run, interval_s=every * run.work_s[1] / judgement.variant.profile.steps)


def _spot_run(parts: _Parts, judgement: Judgement) -> SpotRun:
    rows, machine = parts.fixed.rows, judgement.machine
    assert machine is not None
    rate, fetch = rows[RATE].value, parts.fixed.fetch
    moved_s = (fetch.low_s, fetch.expected_s, fetch.high_s)
    return SpotRun(
        before_s=parts.before_s,
        work_s=parts.work_s,
        after_s=_less(parts.after_s, moved_s),
        moved_s=moved_s,
        checkpoint_s=_checkpoint_s(judgement.variant.profile, parts.fixed),
        recovery_s=parts.fixed.before_s,
        wait_s=seconds_of(rows[WAIT]),
        rate_per_hour=(rate.low, rate.expected, rate.high),
        nodes=machine.num_nodes,
    )


def _checkpoint_s(profile: WorkloadProfile, fixed: FixedPhases) -> Ends:
    return per_rate(profile.checkpoint_bytes, fixed.rows["disk_rate"], unit=MEGA)


def _plus(one: Ends, other: Ends) -> Ends:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _less(one: Ends, other: Ends) -> Ends:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]


def _in_hours(*parts: Ends) -> Ends:
    low = expected = high = 0.0
    for part in parts:
        low, expected, high = low + part[0], expected + part[1], high + part[2]
    return low / SECONDS_PER_HOUR, expected / SECONDS_PER_HOUR, high / SECONDS_PER_HOUR
