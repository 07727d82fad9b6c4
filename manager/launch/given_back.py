"""Machines that a launch had and gave back before its task began: they are billed, and leave less of the cap.

Owns whether there was one and what it leaves of the cap; the bill is written by `manager.runs.supervise`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from manager.launch.engine import LaunchRequest, MachineTime
from manager.prices.kubernetes import KUBERNETES
from manager.prices.offer import Offer
from manager.prices.slurm import SLURM
from manager.units import SECONDS_PER_HOUR

_QUEUES = frozenset({SLURM, KUBERNETES})
NOTHING_LEFT = "machines that were given back have left nothing of the cap, or nobody knows what they cost"


def was_billed(states: Sequence[str] | None, cloud: str | None, *, is_refused: bool) -> bool:
    """Whether a cluster that was taken down had a machine; where nobody knows, it had unless it was refused.

    Args:
        states: of the machines that the provider said were there, before the teardown; None: nobody knows.
        cloud: where the cluster was asked for; None: it is not known.
        is_refused: SkyPilot said that it got none, and did not just take too long.
    """
    if states is None:
        return not is_refused
    # What waits in a cluster's queue has no node yet; a machine that boots is billed.
    return any(state == "UP" or cloud not in _QUEUES for state in states)


def is_waiting(cloud: str | None, ask: Callable[[], Sequence[str] | None]) -> bool:
    """Whether all that was asked for waits in a cluster's queue, as its provider says; nobody asks others."""
    states = ask() if cloud in _QUEUES else None
    return bool(states) and not was_billed(states, cloud, is_refused=False)


def machine_time(offer: Offer, *, from_s: float, to_s: float | None = None) -> MachineTime:
    """The time of an offer's machine, Unix times in seconds: from the request, as for a launch that succeeds."""
    return MachineTime(
        from_s=from_s,
        to_s=None if to_s is None else max(from_s, to_s),
        price_usd_per_hour=offer.price_usd_per_hour,
        cloud=offer.cloud,
        region=offer.region,
        zone=None,
        instance_type=offer.instance_type,
    )


def machine_of(record: dict[str, Any]) -> MachineTime:
    """A machine as a file of the run's folder has it.

    Raises:
        KeyError, TypeError, ArithmeticError: it is none.
    """
    price = record["price_usd_per_hour"]
    return MachineTime(**{**record, "price_usd_per_hour": None if price is None else Decimal(price)})


def with_cap_left(request: LaunchRequest, machines: Sequence[MachineTime]) -> LaunchRequest | None:
    """The request with what machines that were given back have left of its cap in dollars; None: nothing is left.

    A machine of unknown price takes the whole cap: nobody could tell how much of it is left.
    """
    cap = request.job.guard.max_usd
    if cap is None or not machines:
        return request
    left = Decimal(repr(cap))
    for one in machines:
        if one.price_usd_per_hour is None or one.to_s is None:
            return None
        left -= one.price_usd_per_hour * Decimal(one.to_s - one.from_s) / SECONDS_PER_HOUR
    if left <= 0:
        return None
    guard = replace(request.job.guard, max_usd=float(left))
    return replace(request, job=replace(request.job, guard=guard))
