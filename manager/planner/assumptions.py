"""What an estimate takes for granted: named figures with unit, date and source, from `data/assumptions.csv`.

They arrive in the planner as an argument (`Assumptions`), so that a test or a site can bring its own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from manager.planner.plan import Assumption
from manager.units import Interval

_ANY_CLOUD = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedQuantity:
    """One row of the table."""

    name: str
    value: Interval
    """In `unit`."""
    unit: str
    source: str

    def stated(self) -> Assumption:
        """The row as a sentence for people."""
        low, expected, high = self.value.low, self.value.expected, self.value.high
        figure = f"{expected:g}" if low == high else f"{expected:g} ({low:g} to {high:g})"
        return Assumption(name=self.name, text=f"{figure} {self.unit}; {self.source}")


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The table, by name and cloud."""

    rows: Mapping[tuple[str, str], AssumedQuantity]

    def of(self, name: str, cloud: str) -> AssumedQuantity:
        """The row of this cloud, else the one for all clouds.

        Raises:
            KeyError: the table has no such name.
        """
        own = self.rows.get((name, cloud))
        return own if own is not None else self.rows[name, _ANY_CLOUD]


@lru_cache(maxsize=1)
def shipped_assumptions() -> Assumptions:
    """The table that ships with the product, read at the first call."""
    lines = files("manager.planner").joinpath("data", "assumptions.csv").read_text(encoding="utf-8").splitlines()
    return Assumptions({(row["name"], row["cloud"]): _parse(row) for row in csv.DictReader(lines)})


def _parse(row: dict[str, str]) -> AssumedQuantity:
    value = Interval(low=float(row["low"]), expected=float(row["expected"]), high=float(row["high"]))
    return AssumedQuantity(name=row["name"], value=value, unit=row["unit"], source=row["source"])
