"""Runs in a ledger that count against budgets: launched, charged, ended as a test says."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from manager.launch.engine import Handle, Launched
from manager.runs.charges import charge
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from tests.unit.runs.samples import PRICE, offer, plan


def create(
    ledger: Ledger,
    name: str,
    *,
    project: str | None = None,
    cap: str | None = None,
    price: Decimal | None = PRICE,
    at_s: float,
) -> None:
    """A run that is about to be launched; its plan costs half of to twice the price."""
    made = plan(price=price)
    made = replace(made, spec=replace(made.spec, project=project))
    ledger.create_run(name, made, Path("/runs") / name, "sky", None if cap is None else Decimal(cap), at_s)


def launched(
    ledger: Ledger,
    name: str,
    *,
    project: str | None = None,
    cap: str | None = None,
    price: Decimal | None = PRICE,
    at_s: float,
    charged_s: float = 0.0,
) -> None:
    """A run whose machine is billed since `at_s`, and charged for so many seconds."""
    create(ledger, name, project=project, cap=cap, price=price, at_s=at_s)
    ledger.transition(name, RunState.LAUNCHING, at_s)
    handle = Handle(engine="sky", run_dir="/runs", name=name, details={})
    taken = Launched(handle=handle, offer=offer(price), billing_started_at_s=at_s, failed_attempts=())
    ledger.store_launched(name, taken, at_s)
    ledger.transition(name, RunState.RUNNING, at_s)
    if charged_s:
        to_s = at_s + charged_s
        ledger.add_charge(name, charge(from_s=at_s, to_s=to_s, price_usd_per_hour=price, at_s=to_s))


def ended(ledger: Ledger, name: str, at_s: float, *, state: RunState = RunState.SUCCEEDED) -> None:
    """Its machine is taken down: for sure, or UNCONFIRMED."""
    ledger.transition(name, RunState.TEARING_DOWN, at_s)
    ledger.transition(name, state, at_s)
