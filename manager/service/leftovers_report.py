"""What is still rented, as it is told: values, their total and their JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from manager.launch.inventory import Rented, RentedKind
from manager.runs.states import RunState

LEFTOVERS_JSON_VERSION = 1
MACHINES = frozenset({RentedKind.INSTANCE, RentedKind.SPOT_REQUEST, RentedKind.CLUSTER})
"""What runs, or brings what runs: the dear part, which nobody keeps on purpose without a run."""


class Standing(StrEnum):
    """What the ledger says of the run that something belongs to."""

    LIVING = "living"
    """Its run may be billed: stop or reconcile the run; it is not removed by itself."""
    ORPHAN = "orphan"
    """Its run is over."""
    UNKNOWN_RUN = "unknown_run"
    """This SkyPilot user's, of a run that the ledger does not have."""
    KEPT = "kept"
    """Staged data, for any run; no run is on."""
    FOREIGN = "foreign"
    """Another user's, or nobody can say whose: it is told and never touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing and whose it is."""

    rented: Rented
    """With the price of its run's machine where the provider names none."""
    standing: Standing
    run_state: RunState | None
    """None: the ledger does not have the run."""

    @property
    def is_machine_without_run(self) -> bool:
        """Whether a machine is billed that no run uses: as loud as can be."""
        return self.rented.kind in MACHINES and self.may_be_removed

    @property
    def may_be_removed(self) -> bool:
        """Whether it is of this user, of no living run, and not going already."""
        return self.standing in (Standing.ORPHAN, Standing.UNKNOWN_RUN, Standing.KEPT) and not self.rented.is_going


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Everything that was found under the tag."""

    items: tuple[Leftover, ...]
    """Machines first, then by dollars a month, unknown before known."""
    asked: tuple[str, ...]
    """Who was asked: `aws`, `skypilot`, names of buckets."""
    not_asked: Mapping[str, str]
    """Who was not, and why."""
    silent: Mapping[str, str]
    """Place -> why it did not answer; what is there is unknown."""
    silent_of_runs: tuple[str, ...]
    """Of these, places where runs were, or that may hide any region."""
    prices_as_of: str
    """ISO date of the prices of disks, buckets and addresses."""

    @property
    def machines_without_run(self) -> tuple[Leftover, ...]:
        """Machines that are billed for nothing."""
        return tuple(item for item in self.items if item.is_machine_without_run)


def known_usd_per_month(items: Iterable[Leftover]) -> tuple[Decimal, int]:
    """Sum of the known prices, and of how many things the price is unknown."""
    prices = [item.rented.usd_per_month for item in items]
    return sum((price for price in prices if price is not None), Decimal(0)), prices.count(None)


def urgency(item: Leftover) -> tuple[bool, bool, Decimal, str]:
    """To sort by: machines without a run first, then by dollars, unknown before known."""
    price = item.rented.usd_per_month
    return not item.is_machine_without_run, price is not None, -(price or Decimal(0)), item.rented.id


def leftovers_to_json(found: Leftovers) -> dict[str, Any]:
    """As one JSON object, schema 1; times in Unix seconds, money in dollars, null where unknown."""
    total, unknown = known_usd_per_month(found.items)
    return {
        "schema": LEFTOVERS_JSON_VERSION,
        "type": "leftovers",
        "items": [
            {
                **asdict(item.rented),
                "usd_per_month": None if item.rented.usd_per_month is None else float(item.rented.usd_per_month),
                "size_gib": None if item.rented.size_gib is None else float(item.rented.size_gib),
                "standing": str(item.standing),
                "run_state": None if item.run_state is None else str(item.run_state),
            }
            for item in found.items
        ],
        "known_usd_per_month": float(total),
        "unknown_prices": unknown,
        "asked": list(found.asked),
        "not_asked": dict(found.not_asked),
        "silent": dict(found.silent),
        "prices_as_of": found.prices_as_of,
    }
