"""Estimate and Plan: what each offer would cost, and which one was chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from manager.prices.offer import Offer
from manager.spec.model import Budget, RunSpec
from manager.units import Interval, MoneyInterval, format_usd
from manager.workload.memory_answer import MemoryAnswer
from manager.workload.profile import WorkloadProfile

PLAN_VERSION = 1
ESTIMATOR = "traced-3"
"""How estimates are made: traced steps over the roofline. Changed whenever times or memory move for reasons that a run
measures, also when the shipped speeds are fitted anew: what runs taught about another estimator does not hold here."""
OLD_ESTIMATOR = "formulas"
"""Of plans from before estimates named theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One line of a bill."""

    name: str
    """boot, setup, download, probe, baseline, training, evaluation, checkpoints, final, saving, fetch, teardown ..."""
    quantity: Interval
    unit: str
    """Of quantity and of the unit price: `h`, `GiB` ..."""
    unit_price_usd: Decimal
    total_usd: MoneyInterval
    assumption: str | None
    """Name of the assumption that the line rests on, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """Something that the estimate takes for granted."""

    name: str
    text: str
    """The value with its unit and where it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBytes:
    """What the host's own memory has to hold, of all processes, at its highest moment."""

    low: int
    expected: int
    high: int
    moment: str
    """What the host does then: `a checkpoint is written` ..."""
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One offer's answer to one workload."""

    offer: Offer
    fits: bool
    micro_batch: int | None
    """Samples per forward pass and accelerator: the largest that fits, evened out; None when not even one does."""
    memory: MemoryAnswer | None
    """At `micro_batch` (at 1 when nothing fits); None when the accelerator's memory or speed is unknown."""
    hours: Interval | None
    """Launch to machine gone; None when it cannot be said."""
    training_hours: Interval | None
    """Of which optimizer steps."""
    cost_usd: MoneyInterval | None
    """Total of `lines`; None when the price or the hours are unknown."""
    lines: tuple[CostLine, ...]
    assumptions: tuple[Assumption, ...]
    calibration_factor: float = 1.0
    """By which own runs have changed the estimator's training time; 1 where none has."""
    host_bytes: HostBytes | None = None
    """None without an accelerator, and where the job does not run; of each node."""
    precision: str | None = None
    """As the run file asks, or what was chosen for this machine; None in plans from before that was told."""
    gradient_checkpointing: bool | None = None
    """The same."""
    sharding: str = "none"
    """none: one device; ddp: each holds all; fsdp: weights, gradients and optimizer state are divided."""
    accumulation: int | None = None
    """Forward passes per optimizer step and device; None when it does not fit."""
    disk_gib: int | None = None
    """Of each node's disk, to ask for; None when it does not run, and on this machine."""
    checkpoint_every_steps: int | None = None
    """Chosen for spot machines; None: as the run file says."""
    preemptions: Interval | None = None
    """Expected number on spot machines; None on demand."""
    on_paper: str | None = None
    """Why the offer cannot be launched although it was ranked, because the user asked for such ones; None: it can."""
    estimator: str = ESTIMATOR
    """What made the hours and the bytes."""
    reason: str | None
    """Why the offer cannot be chosen, or None: `needs 14.2 GiB, has 8.0 GiB` ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """How many offers one kind of reason ruled out."""

    reason: str
    """Without figures: `does not fit`, `over budget` ..."""
    offers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetCap:
    """What a budget of the user (of a month, of a project) leaves for one run."""

    usd: Decimal
    """Not below 0."""
    name: str
    """`month budget 2026-11`."""
    text: str
    """`month budget 2026-11 leaves $12.30 of $50.00`."""

    @property
    def note(self) -> str:
        """What a plan says of it among its notes."""
        return f"{self.text}: the cap of this run is {format_usd(self.usd)}"


def under_cap(budget: Budget, cap: BudgetCap | None) -> Budget:
    """The limits with a cap of a budget in place of their own; None: as they are."""
    return budget if cap is None else replace(budget, max_usd=cap.usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer: frozen, serialised, launched later under its id."""

    plan_id: str
    created_at_s: float
    """Unix time in seconds."""
    spec: RunSpec
    profile: WorkloadProfile
    offers: tuple[Estimate, ...]
    """Offers that can be chosen, by expected dollars to a finished job."""
    chosen: int | None
    """Index in `offers`; None when nothing can be chosen."""
    rejected: tuple[Estimate, ...]
    """Of the rest those nearest to a choice, each with its reason, nearest first."""
    notes: tuple[str, ...]
    """What the user should know: `no price catalog found, shipped list prices of 2026-09` ..."""
    offers_total: int | None = None
    """All that could be chosen; `offers` holds the cheapest of them. None: those are all."""
    rejected_total: int | None = None
    reasons: tuple[ReasonCount, ...] = ()
    """Why offers were rejected, most frequent first; empty in plans from before they were counted."""
    pareto: tuple[Estimate, ...] = ()
    """Offers that none beats in both dollars and hours, from the cheapest to the fastest."""
    budget_cap: BudgetCap | None = None
    """Where it is lower than the cap of the run file, or that has none; offers were compared with it then."""

    @property
    def limits(self) -> Budget:
        """What offers were compared with: the limits of the run file, under the cap that a budget leaves."""
        return under_cap(self.spec.budget, self.budget_cap)

    @property
    def choice(self) -> Estimate | None:
        """The chosen estimate."""
        return None if self.chosen is None else self.offers[self.chosen]
