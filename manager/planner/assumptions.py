"""What an estimate takes for granted: named figures with unit, date and source, from `data/assumptions.csv`.

They arrive in the planner as an argument (`Assumptions`), so that a test or a user can bring own ones
(`planner.own_assumptions`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from manager.planner.plan import Assumption
from manager.units import Interval

ANY_CLOUD = "*"
"""In the place of a cloud: all that have no row of their own."""
SHIPPED = "shipped"
"""Origin of the rows that come with the product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedQuantity:
    """One row of the table."""

    name: str
    value: Interval
    """In `unit`."""
    unit: str
    source: str
    as_of: str = ""
    """Date of the figure, `2026-11-21`; empty where an own file names none."""
    origin: str = SHIPPED
    """`shipped`, or the file that the row comes from."""

    def figure(self) -> str:
        """`3 (1.5 to 6) min`."""
        low, expected, high = self.value.low, self.value.expected, self.value.high
        value = f"{expected:g}" if low == high else f"{expected:g} ({low:g} to {high:g})"
        return f"{value} {self.unit}"

    def stated(self) -> Assumption:
        """The row as a sentence for people."""
        origin = "" if self.origin == SHIPPED else f" ({self.origin})"
        return Assumption(name=self.name, text=f"{self.figure()}; {self.source}{origin}")


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
        return own if own is not None else self.rows[name, ANY_CLOUD]

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once, in the table's order."""
        return tuple(dict.fromkeys(name for name, _ in self.rows))


@lru_cache(maxsize=1)
def shipped_assumptions() -> Assumptions:
    """The table that ships with the product, read at the first call."""
    lines = files("manager.planner").joinpath("data", "assumptions.csv").read_text(encoding="utf-8").splitlines()
    return Assumptions({(row["name"], row["cloud"]): _parse(row) for row in csv.DictReader(lines)})


def _parse(row: dict[str, str]) -> AssumedQuantity:
    value = Interval(low=float(row["low"]), expected=float(row["expected"]), high=float(row["high"]))
    return AssumedQuantity(name=row["name"], value=value, unit=row["unit"], source=row["source"], as_of=row["as_of"])
