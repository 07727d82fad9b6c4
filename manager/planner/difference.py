"""Two plans side by side: what was asked differently, and what that does to memory, hours and dollars.

Owns the comparison; how it is shown is for reports and the command line. A figure that one side
does not have is None, and so is every change that would rest on it. Dollars per line are those of the two bills, so
that their changes add up to the change of the totals exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.planner.changes import Change, spec_changes, workload_changes
from manager.planner.limits import explain_no_choice
from manager.planner.plan import Estimate, Plan
from manager.prices.offer import Offer
from manager.units import Interval, MoneyInterval
from manager.workload.memory_answer import MEMORY_LINES

_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two plans."""

    plan_id: str
    created_at_s: float
    """Unix time in seconds."""
    name: str
    """Of the job."""
    model: str
    choice: Estimate | None
    """None when there is none."""
    estimator: str | None
    """None for a plan without any estimate."""
    no_choice: str | None
    """Why nothing was chosen, naming the constraint that binds; None when something was."""

    @property
    def offer(self) -> Offer | None:
        """The chosen one."""
        return None if self.choice is None else self.choice.offer

    @property
    def hours(self) -> Interval | None:
        """Launch to machine gone."""
        return None if self.choice is None else self.choice.hours

    @property
    def cost_usd(self) -> MoneyInterval | None:
        """To the finished job."""
        return None if self.choice is None else self.choice.cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesChange:
    """One line of the memory of a device."""

    name: str
    old_bytes: int | None
    new_bytes: int | None

    @property
    def change_bytes(self) -> int | None:
        """New less old."""
        return None if self.old_bytes is None or self.new_bytes is None else self.new_bytes - self.old_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DollarsChange:
    """One line of the bill, expected; a line that a bill does not have costs nothing there."""

    name: str
    old_usd: Decimal | None
    """None when that plan has no bill."""
    new_usd: Decimal | None

    @property
    def change_usd(self) -> Decimal | None:
        """New less old."""
        return None if self.old_usd is None or self.new_usd is None else self.new_usd - self.old_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChange:
    """Memory of one device line by line, on equal machines where both plans have one in common."""

    machine: str | None
    """Key of the offer on which both are compared; None: each on its own machine."""
    lines: tuple[BytesChange, ...]
    """Empty when neither is known."""
    total: BytesChange


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDifference:
    """What is not the same in two plans."""

    old: Side | None
    """None: there was no plan before."""
    new: Side
    question: tuple[Change, ...]
    """Fields of the run file."""
    workload: tuple[Change, ...]
    """What the job demands of any machine."""
    memory: MemoryChange
    dollars: tuple[DollarsChange, ...]
    total: DollarsChange
    """Expected."""
    old_machine_now: Estimate | None
    """Where the choice moved: what the new plan says of the machine that the old one chose."""

    @property
    def is_same_machine(self) -> bool:
        """Whether both chose the same offer, price apart."""
        if self.old is None or self.old.offer is None or self.new.offer is None:
            return False
        return self.old.offer.key == self.new.offer.key

    @property
    def change_hours(self) -> float | None:
        """Expected, new less old."""
        old, new = None if self.old is None else self.old.hours, self.new.hours
        return None if old is None or new is None else new.expected - old.expected

    @property
    def is_empty(self) -> bool:
        """Whether nothing that a reader asks for has changed."""
        return not (
            self.question
            or self.workload
            or self.total.change_usd != 0
            or self.change_hours != 0
            or self.memory.total.change_bytes != 0
            or not self.is_same_machine
        )


def difference(old: Plan | None, new: Plan) -> PlanDifference:
    """Compare two plans; with `old` None all of the new one is additional."""
    before, after = None if old is None else old.choice, new.choice
    return PlanDifference(
        old=None if old is None else _side(old),
        new=_side(new),
        question=() if old is None else spec_changes(old.spec, new.spec),
        workload=() if old is None else workload_changes(old, new),
        memory=_memory(old, new),
        dollars=_dollars(before, after, is_first=old is None),
        total=_total(before, after, is_first=old is None),
        old_machine_now=_old_machine_now(before, new),
    )


def percent(old: float | Decimal | None, new: float | Decimal | None) -> float | None:
    """Change in per cent of the old value; None where it cannot be said."""
    return None if old is None or new is None or not old else (float(new) - float(old)) / float(old) * _PERCENT


def _side(plan: Plan) -> Side:
    choice = plan.choice
    return Side(
        plan_id=plan.plan_id,
        created_at_s=plan.created_at_s,
        name=plan.spec.name,
        model=plan.profile.model,
        choice=choice,
        estimator=_estimator(plan),
        no_choice=explain_no_choice(plan).message if choice is None else None,
    )


def _estimator(plan: Plan) -> str | None:
    estimates = (*plan.offers[:1], *plan.rejected[:1])
    return estimates[0].estimator if estimates else None


def _memory(old: Plan | None, new: Plan) -> MemoryChange:
    """On the new choice where the old plan knows it too, else on the old choice, else on each its own."""
    before, after = None if old is None else old.choice, new.choice
    machine = None
    if old is not None:
        for key in (estimate.offer.key for estimate in (after, before) if estimate is not None):
            there, here = _with_memory(old, key), _with_memory(new, key)
            if there is not None and here is not None:
                machine, before, after = key, there, here
                break
    parts = [None if estimate is None or estimate.memory is None else estimate.memory for estimate in (before, after)]
    a, b = (None if part is None else part.lines() for part in parts)
    nothing = 0 if old is None else None
    lines = tuple(
        BytesChange(
            name=name,
            old_bytes=nothing if a is None else a[name],
            new_bytes=None if b is None else b[name],
        )
        for name in MEMORY_LINES
        if (a is not None and a[name]) or (b is not None and b[name])
    )
    return MemoryChange(
        machine=machine,
        lines=lines,
        total=BytesChange(
            name="total",
            old_bytes=nothing if parts[0] is None else parts[0].total_bytes,
            new_bytes=None if parts[1] is None else parts[1].total_bytes,
        ),
    )


def _with_memory(plan: Plan, key: str) -> Estimate | None:
    found = _of_key(plan, key)
    return None if found is None or found.memory is None else found


def _of_key(plan: Plan, key: str) -> Estimate | None:
    """The best estimate of an offer; a rejected one where it was not among those to choose from."""
    known = (*plan.offers, *plan.pareto, *plan.rejected)
    return next((estimate for estimate in known if estimate.offer.key == key), None)


def _dollars(before: Estimate | None, after: Estimate | None, *, is_first: bool) -> tuple[DollarsChange, ...]:
    old, new = _bill(before, is_first=is_first), _bill(after)
    names = [*(old or ()), *(name for name in new or () if name not in (old or ()))]
    return tuple(
        DollarsChange(
            name=name,
            old_usd=None if old is None else old.get(name, Decimal(0)),
            new_usd=None if new is None else new.get(name, Decimal(0)),
        )
        for name in names
    )


def _bill(estimate: Estimate | None, *, is_first: bool = False) -> dict[str, Decimal] | None:
    """Expected dollars by line; without an earlier plan nothing was paid, without a choice it is unknown."""
    if estimate is None or estimate.cost_usd is None:
        return {} if is_first else None
    bill: dict[str, Decimal] = {}
    for line in estimate.lines:
        bill[line.name] = bill.get(line.name, Decimal(0)) + line.total_usd.expected
    return bill


def _total(before: Estimate | None, after: Estimate | None, *, is_first: bool) -> DollarsChange:
    old = Decimal(0) if is_first else None
    return DollarsChange(
        name="total",
        old_usd=old if before is None or before.cost_usd is None else before.cost_usd.expected,
        new_usd=None if after is None or after.cost_usd is None else after.cost_usd.expected,
    )


def _old_machine_now(before: Estimate | None, new: Plan) -> Estimate | None:
    if before is None or (new.choice is not None and new.choice.offer.key == before.offer.key):
        return None
    return _of_key(new, before.offer.key)
