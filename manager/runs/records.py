"""What the ledger tells of a run; read-only values for supervision and reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from manager.launch.engine import Evidence, Handle
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.runs.states import RunState
from tasks.protocol import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One row of the run's history."""

    state: RunState
    at_s: float
    """Unix time in seconds, this machine's clock."""
    detail: str | None
    """Why, for people; None when the state says it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """Somebody asked for an end of the run."""

    detail: str
    """Who or why, for people."""
    now: bool
    """Without waiting for a checkpoint."""


LAUNCH_ATTEMPT = "launch attempt"
"""What a charge is for where a launch broke before its machine was known, or gave a machine back before the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one stretch of machine time costs at the launch price; rows are never changed, only added."""

    at_s: float
    """When the row was written."""
    from_s: float
    to_s: float
    """Billed stretch in Unix time; the stretches of a run touch and never overlap."""
    price_usd_per_hour: Decimal | None
    """Launch price; None: unknown, then the amount is unknown too."""
    amount_usd: Decimal | None
    what: str
    """`machine`, or LAUNCH_ATTEMPT."""


def total_usd(charges: Iterable[Charge]) -> Decimal | None:
    """Sum of the amounts; None when one of them is unknown, 0 without charges."""
    total = Decimal(0)
    for item in charges:
        if item.amount_usd is None:
            return None
        total += item.amount_usd
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as the ledger knows it."""

    run_id: str
    state: RunState
    created_at_s: float
    plan: Plan
    run_dir: Path
    engine: str
    """`local` or `sky`."""
    cap_usd: Decimal | None
    """Cap agreed at the launch; None: none."""
    handle: Handle | None
    offer: Offer | None
    """The offer really taken; None before the launch succeeded."""
    billing_started_at_s: float | None
    billing_ended_at_s: float | None
    """None while the machine may still be billed."""
    history: tuple[StateChange, ...]
    charges: tuple[Charge, ...]
    evidence: tuple[Evidence, ...]
    """All answers, oldest first."""
    failed_attempts: tuple[str, ...]
    last_seq: int
    """Of the last event stored; -1 when there is none."""
    user: str | None = None
    """Who launched it; None: nobody knows."""

    @property
    def cost_usd(self) -> Decimal | None:
        """Sum of the charges; None when one of them is unknown, 0 before the first."""
        return total_usd(self.charges)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvents:
    """A run with all its events, oldest first: what a report is built from."""

    record: RunRecord
    events: tuple[Event, ...]
