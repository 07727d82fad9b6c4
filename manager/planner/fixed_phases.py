"""Phases that are the same on all machines of a cloud, among which what a machine computes stands (`phases`).

Boot, set-up, download, start and data come before it; checkpoints are written on the way; saving, bringing results home
and teardown come after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from manager.planner.assumptions import AssumedQuantity, Assumptions
from manager.planner.decoding import rate_name
from manager.planner.plan import Assumption
from manager.planner.spot import Ends
from manager.workload.profile import WorkloadProfile

CHECKPOINTS = "checkpoints"
FETCH = "fetch"
"""Bringing the results home: until it is through the machine is billed."""
WAITING = "waiting"
"""For capacity after preemptions: nothing is billed then."""
RATE, WAIT = "preemption_rate", "spot_wait"
"""Assumptions of spot machines."""
MEGA = 1e6
_MINUTE_S = 60.0
_NOTHING = (0.0, 0.0, 0.0)


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


@dataclass(frozen=True, slots=True)
class FixedPhases:
    """In three groups, between which computation stands."""

    before: tuple[Timed, ...]
    before_s: Ends
    checkpoints: Timed
    after: tuple[Timed, ...]
    after_s: Ends
    fetch: Timed
    """One of `after`."""
    rows: Mapping[str, AssumedQuantity]
    stated: tuple[Assumption, ...]


def fixed_phases(
    profile: WorkloadProfile, cloud: str, assumptions: Assumptions, *, use_spot: bool, num_nodes: int = 1
) -> FixedPhases:
    """The phases of a job on a cloud; what lies here is sent to each of the nodes."""
    kind = profile.data.kind
    rows = {name: assumptions.of(name, cloud) for name in _names(kind, cloud, use_spot=use_spot)}
    is_text = rate_name(kind) is None
    tokens = per_rate(_all_tokens(profile), rows["tokenize_rate"], unit=1.0) if is_text else _NOTHING
    disk = rows["disk_rate"]
    before = (
        Timed("boot", *seconds_of(rows["boot"]), "boot"),
        Timed("setup", *seconds_of(rows["setup"]), "setup"),
        Timed("download", *_download_s(profile, rows, cloud, num_nodes), _download_rate(profile, cloud)),
        Timed("start", *seconds_of(rows["start"]), "start"),
        Timed("data", *tokens, "tokenize_rate" if is_text else None),
    )
    after = (
        Timed("saving", *per_rate(profile.export_file_bytes, disk, unit=MEGA), "disk_rate"),
        _fetch(profile, rows, cloud),
        Timed("teardown", *seconds_of(rows["teardown"]), "teardown"),
    )
    return FixedPhases(
        before=before,
        before_s=sum_of(before),
        checkpoints=Timed(
            CHECKPOINTS, *per_rate(profile.checkpoints * profile.checkpoint_bytes, disk, unit=MEGA), "disk_rate"
        ),
        after=after,
        after_s=sum_of(after),
        fetch=after[1],
        rows=rows,
        stated=tuple(row.stated() for row in rows.values()),
    )


def _download_s(profile: WorkloadProfile, rows: Mapping[str, AssumedQuantity], cloud: str, num_nodes: int) -> Ends:
    if cloud == "local":
        return per_rate(0 if profile.model_is_here else profile.weights_bytes, rows["hub_rate"], unit=MEGA)
    from_hub = (profile.weights_bytes if profile.model_from_hub else 0) + (
        profile.data.bytes if profile.data_from_hub else 0
    )
    from_home = profile.weights_bytes + profile.data.bytes - from_hub
    moved = per_rate(from_hub, rows["hub_rate"], unit=MEGA)
    # Each node downloads over its own link; all are sent to over the one from here (SkyPilot 0.14 copies to each).
    sent = per_rate(num_nodes * from_home, rows["upload_rate"], unit=MEGA)
    return moved[0] + sent[0], moved[1] + sent[1], moved[2] + sent[2]


def _download_rate(profile: WorkloadProfile, cloud: str) -> str:
    """The assumption that the phase rests on: a model that lies here is sent from here."""
    return "hub_rate" if cloud == "local" or profile.model_from_hub else "upload_rate"


def _fetch(profile: WorkloadProfile, rows: Mapping[str, AssumedQuantity], cloud: str) -> Timed:
    """Seconds for the tuned model to come home, beside which events and log are nothing, and what they rest on."""
    if cloud == "local":
        return Timed(FETCH, *_NOTHING, None)  # The training program writes into the run's folder.
    return Timed(FETCH, *per_rate(profile.export_file_bytes, rows["fetch_rate"], unit=MEGA), "fetch_rate")


def sum_of(timed: Sequence[Timed]) -> Ends:
    """Seconds of several phases."""
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
    return (*names, RATE, WAIT) if use_spot else names


def seconds_of(row: AssumedQuantity) -> Ends:
    """Of a time that is assumed in seconds or minutes."""
    unit = _MINUTE_S if row.unit == "min" else 1.0
    return row.value.low * unit, row.value.expected * unit, row.value.high * unit


def per_rate(amount: float, row: AssumedQuantity, *, unit: float) -> Ends:
    """Seconds for an amount at an assumed rate per second; the fastest rate gives the low end."""
    rate, amount = row.value, amount / unit
    return amount / rate.high, amount / rate.expected, amount / rate.low
