"""The one protocol of both engines: `local` (a subprocess here) and `sky` (SkyPilot).

An engine moves a job to a machine and back. It keeps no ledger, counts no dollars, prints nothing; whatever must
survive a crash of this process it returns as a `Handle`, which the caller stores before anything else happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from manager.planner.storage import NOTHING_BESIDE, SideUsd
from manager.prices.offer import Offer
from manager.units import SECONDS_PER_HOUR
from tasks.job import GuardChoice, Job
from tasks.protocol import Event

MOST_END_SHARE = 0.25
"""Of a limit, for what comes after the trainer."""
LOG_FILE = "log.txt"
"""In the run's folder: what the task printed, set-up included."""


class GuardName(StrEnum):
    """Who keeps the caps on dollars and duration; each can do it alone."""

    MACHINE = "machine"
    """The dead-man timer beside the task."""
    TRAINER = "trainer"
    """The training program itself, in good order."""
    HOME = "home"
    """The process that supervises the run."""


class MachineState(StrEnum):
    """What the engine knows of the machine and the task on it."""

    STARTING = "starting"
    """Provisioning or set-up."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The task ended with an error; the machine may still be there."""
    SETUP_FAILED = "setup_failed"
    GONE = "gone"
    """No machine and no process is left."""
    UNKNOWN = "unknown"
    """The provider did not answer."""


class SpotRecovery(StrEnum):
    """What happens when the machine of a spot run is preempted."""

    MANAGED = "managed"
    """SkyPilot replaces it, also while this machine is off: a managed job."""
    NONE = "none"
    """The run ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """Everything an engine needs for one attempt."""

    run_id: str
    job: Job
    offers: tuple[Offer, ...]
    """Chosen offer first, then fall-backs in order; the engine takes the first that has capacity."""
    run_dir: Path
    """Folder of the run at home; job.json, events.jsonl, log.txt and results come to lie in it."""
    idle_minutes_to_autostop: int = 10
    launch_timeout_s: float = 1800.0
    """Provisioning and file sync; after it the machine is taken down and the launch has failed."""
    max_duration_s: float | None = None
    disks_gib: Mapping[str, int] = field(default_factory=dict)
    """Disk of each node, by the offer's key, from the plan's need; an offer without one gets what
    templates/sky/task.yaml asks for."""
    beside: Mapping[str, SideUsd] = field(default_factory=dict)
    """What is billed besides an offer's machines, by its key; nothing where it is not there."""

    image: str | None = None
    """What machines boot instead of SkyPilot's image, as its `image_id`."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variable -> value, for the environment of the task alone: in no file, no argument, no log."""
    guards: frozenset[GuardName] = frozenset(GuardName)
    """Those that are at work; a drill takes some away."""

    spot_recovery: SpotRecovery = SpotRecovery.MANAGED
    """Of a run on spot machines that has a store; without one a lost machine takes everything with it."""

    wrap_up_s: float = 0.0
    """Of the cap and the longest duration, what is kept for the results' way home and the take-down."""

    def guard_on(self, offer: Offer) -> GuardChoice:
        """The job's guard as the trainer keeps it on an offer: its caps less what comes after the trainer; only a
        price where the trainer's guard is taken away."""
        guard = self._whole_guard_on(offer)
        if GuardName.TRAINER not in self.guards:
            return replace(guard, max_usd=None, max_duration_s=None, hang_s=None)
        limit_s = self.limit_s(offer)
        if limit_s is None or not (end_s := self.end_s(limit_s)):
            return guard
        price, longest_s = guard.price_usd_per_hour, guard.max_duration_s
        return replace(
            guard,
            max_usd=None
            if guard.max_usd is None
            else max(0.0, guard.max_usd - (price or 0.0) * end_s / SECONDS_PER_HOUR),
            max_duration_s=None if longest_s is None else max(0.0, longest_s - end_s),
        )

    def limit_s(self, offer: Offer) -> float | None:
        """Billed seconds on an offer at which cap or longest duration is reached; None: there is none to tell."""
        guard = self._whole_guard_on(offer)
        limits = [] if guard.max_duration_s is None else [guard.max_duration_s]
        if guard.max_usd is not None and guard.price_usd_per_hour:
            limits.append(guard.max_usd / guard.price_usd_per_hour * SECONDS_PER_HOUR)
        return min(limits, default=None)

    def end_s(self, limit_s: float) -> float:
        """What of a limit is kept for the time after the trainer: a limit that is mostly end would buy nothing."""
        return min(self.wrap_up_s, MOST_END_SHARE * limit_s)

    def _whole_guard_on(self, offer: Offer) -> GuardChoice:
        """By the hour what machines, disks and addresses cost, against what traffic home leaves of the cap."""
        guard, price = self.job.guard, offer.price_usd_per_hour
        beside = self.beside.get(offer.key, NOTHING_BESIDE)
        cap = None if guard.max_usd is None else max(Decimal(0), Decimal(repr(guard.max_usd)) - beside.usd_once)
        return replace(
            guard,
            price_usd_per_hour=None if price is None else float(price + beside.usd_per_hour),
            max_usd=None if cap is None else float(cap),
            max_duration_s=self.max_duration_s if guard.max_duration_s is None else guard.max_duration_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """Where a run is; JSON-able, stored in the ledger before and after each step of a launch."""

    engine: str
    """`local` or `sky`."""
    run_dir: str
    name: str
    """Cluster name (sky) or run id (local): fixed before the launch begins, so a lost launch can be found."""
    details: dict[str, Any]
    """Engine's own facts: pid and its start time, job id, request id, log offset ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """The answer to a successful submit."""

    handle: Handle
    offer: Offer
    """The offer that was really taken."""
    billing_started_at_s: float
    """Unix time from which the machine is billed (start of provisioning of the attempt that succeeded)."""
    failed_attempts: tuple[str, ...]
    """One sentence per offer that had no capacity, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTime:
    """One machine of a run that may have several, one after the other."""

    from_s: float
    """Unix time from which it is billed."""
    to_s: float | None
    """Until when; None: it is still there."""
    price_usd_per_hour: Decimal | None
    """Of all its nodes; None: unknown."""
    cloud: str
    region: str | None
    zone: str | None
    instance_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNews:
    """A machine of the run was lost, or another took its place."""

    words: str
    """For people; a sentence without its full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTimes:
    """All machines of a run, oldest first."""

    machines: tuple[MachineTime, ...]
    known_to_s: float
    """Unix time up to which nothing of them changes any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the provider answered when asked whether anything is left."""

    confirmed: bool
    """True only when the provider answered and nothing is left."""
    asked_at_s: float
    source: str
    """What was asked: `process table`, `SkyPilot status, forced refresh` ..."""
    answer: str
    """In words, as close to the provider's answer as possible."""
    left: tuple[str, ...]
    """Names of what is left; empty when confirmed."""


@runtime_checkable
class TellsEnd(Protocol):
    """An engine that knows when a machine ended of itself."""

    def ended_at_s(self, handle: Handle) -> float | None:
        """Unix time; None: it is not known, or it has not ended."""
        ...


@runtime_checkable
class TellsMachines(Protocol):
    """An engine whose runs may have several machines, one after the other, or had some in a launch that broke."""

    def machines(self, handle: Handle) -> MachineTimes | None:
        """What is known of them here, without asking anybody; None: it is one machine from start to end."""
        ...


@runtime_checkable
class TellsGivenBack(Protocol):
    """An engine whose launch may have had machines that it gave back before the task began."""

    def given_back(self, handle: Handle) -> tuple[MachineTime, ...]:
        """Those of this process's launch, in their order, as they are billed; nobody is asked."""
        ...


class Engine(Protocol):
    """Submit, status, stream, cancel, down, evidence. All may raise EngineError; none leaves a machine unknown."""

    name: str

    def reserve(self, request: LaunchRequest) -> Handle:
        """The handle that the launch will have; nothing is started. Stored by the caller before `submit`."""
        ...

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        """Start the job on the first offer that has capacity.

        Raises:
            NothingFitsError: no offer had capacity; nothing is left running.
            EngineError: anything else; the caller calls `down`.
            KeyboardInterrupt: passes through; the caller calls `down`.
        """
        ...

    def status(self, handle: Handle) -> MachineState:
        """What is known now, without waiting."""
        ...

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str | MachineNews]:
        """Events with seq > after_seq in order and other log lines as text, until the task has ended.

        A broken stream is resumed inside; each event comes once. Before it ends, the events file of the machine (the
        truth) has been read to its end.
        """
        ...

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        """Ask the trainer to save a checkpoint and stop (SIGTERM); after grace_s end it."""
        ...

    def fetch(self, handle: Handle) -> None:
        """Bring events, manifest, tuned model and log from the machine to run_dir; safe to call twice."""
        ...

    def down(self, handle: Handle) -> None:
        """Take everything down; safe to call at any time, twice, and after a crash."""
        ...

    def evidence(self, handle: Handle) -> Evidence:
        """Ask the provider what is left; a provider that does not answer gives confirmed=False, not an error."""
        ...
