"""Machines that a launch had and gave back before its task began: they are billed, and leave less of the cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from manager.launch.engine import LaunchRequest, MachineTime
from manager.prices.offer import Offer
from manager.prices.slurm import SLURM
from manager.units import SECONDS_PER_HOUR


def was_billed(facts: dict[str, Any] | None, offer: Offer, *, is_refused: bool) -> bool:
    """Whether a cluster that was taken down had a machine; where nobody knows, it had unless it was refused.

    Args:
        facts: the worker's answer about the provider, before the teardown; None: there was no answer.
        offer: what the cluster was asked for on.
        is_refused: SkyPilot said that it got none, and did not just take too long.
    """
    states = None if facts is None else facts.get("states")
    if states is None:
        return not is_refused
    # A job that waits in Slurm's queue has no node yet; a machine that boots is billed.
    return any(state == "UP" or offer.cloud != SLURM for state in states)


def machine_time(offer: Offer, *, from_s: float, to_s: float) -> MachineTime:
    """The time of an offer's machine, Unix times in seconds: from the request, as for a launch that succeeds."""
    return MachineTime(
        from_s=from_s,
        to_s=max(from_s, to_s),
        price_usd_per_hour=offer.price_usd_per_hour,
        cloud=offer.cloud,
        region=offer.region,
        zone=None,
        instance_type=offer.instance_type,
    )


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
