"""Whether the machines of a task still cost what the plan said, by SkyPilot's own prices and before anything starts.

SkyPilot 0.14 compares a task's `max_hourly_cost` only where it chooses the instance type itself, and not on GCP; a task
of ours names the instance type wherever there is one. Works on SkyPilot's `Resources` without importing SkyPilot: it
belongs to `manager.launch.sky_backend`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class PriceMovedError(Exception):
    """A machine costs more than the task allows; nothing was started."""


def check_prices(resources: Iterable[Any]) -> None:
    """Compare each named machine's price per hour with the task's `max_hourly_cost`.

    A price that SkyPilot does not know is not compared: the launch then fails, or its price is unknown in the ledger.

    Raises:
        PriceMovedError: a machine is dearer.
    """
    for machine in resources:
        limit = machine.max_hourly_cost
        if limit is None or machine.instance_type is None:
            continue
        price = price_usd_per_hour(machine)
        if price is not None and price > limit:
            raise PriceMovedError(
                f"{machine.instance_type} costs ${price:.4f}/h now, above the ${limit:.4f}/h that the plan allows"
            )


def price_usd_per_hour(machine: Any) -> float | None:
    """Of one node; None where SkyPilot's catalog does not know it."""
    try:
        return float(machine.get_cost(3600))
    # A catalog without this row raises whatever its reader raises; the price is then unknown.
    except Exception:
        return None
