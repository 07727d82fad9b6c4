"""The SkyPilot task of a run that is replaced when it is preempted: that of `manager.launch.render`, with limits that
are the same on each of its machines. Pure.

All attempts together have one start, one cap and one end. So each machine counts from the first request on, at the
price of the dearest that may be taken: what a run costs is never more than what it counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.launch.engine import LaunchRequest, SpotRecovery
from manager.launch.render import render_task
from manager.prices.offer import Offer

STOP_POLL_S = 5.0
"""Between two looks of the trainer for a request to stop, in the run's bucket."""
LEAVE_S = 120.0
"""For SkyPilot's controller to take a machine away whose program was ended at the cap. A machine that ended itself
would be taken for preempted, and replaced."""
MOST_LEAVE_SHARE = 0.25
"""Of the whole time, for that."""
STRATEGY = {"strategy": "EAGER_NEXT_REGION"}


def wants_recovery(request: LaunchRequest) -> bool:
    """Whether the run shall go on when its machine is taken back: spot, with a bucket, and not told otherwise."""
    return (
        request.spot_recovery is SpotRecovery.MANAGED
        and request.job.store is not None
        and bool(request.offers)
        and request.offers[0].use_spot
    )


def spot_offers(request: LaunchRequest) -> tuple[Offer, ...]:
    """The offers that a managed job may take: spot, of as many nodes as the first."""
    return tuple(one for one in request.offers if one.use_spot and one.num_nodes == request.offers[0].num_nodes)


def dearest(request: LaunchRequest, offers: Sequence[Offer]) -> Offer:
    """The offer on which cap and longest duration are reached first, by the hour the dearest."""
    return min(offers, key=lambda one: (_limit_s(request, one), -(one.price_usd_per_hour or Decimal(0))))


def with_stop_requests(request: LaunchRequest) -> LaunchRequest:
    """The request whose trainer looks for a request to stop in the run's bucket."""
    assert request.job.store is not None, "a managed job has a bucket"
    return replace(request, job=replace(request.job, store=replace(request.job.store, stop_poll_s=STOP_POLL_S)))


def managed_task(
    request: LaunchRequest, *, upload_dir: Path, offers: Sequence[Offer], begun_at_s: float
) -> dict[str, Any]:
    """The task as data, with the values of its secrets; see `render_task`.

    Args:
        request: the launch.
        upload_dir: folder made by `sky_upload.stage_upload`.
        offers: spot offers, in the order in which they are tried, at each recovery too.
        begun_at_s: Unix time from which all limits count.
    """
    task = render_task(request, upload_dir=upload_dir, offers=offers, billing_started_s=begun_at_s)
    asked = task["resources"]
    for resources in asked.get("ordered", [asked]):
        # The controller takes machines away; one that ended itself would be replaced.
        resources.pop("autostop", None)
        resources["job_recovery"] = dict(STRATEGY)
    task["envs"] |= _environment(task["envs"])
    return task


def _environment(envs: dict[str, str]) -> dict[str, str]:
    """The timer's inputs, for a machine that may begin at any time before the end."""
    allowed = envs.get("TUNEFARE_ALLOWED_S")
    if allowed is None:
        return {"TUNEFARE_MANAGED_LEAVE_S": f"{LEAVE_S:.0f}"}
    leave_s = min(LEAVE_S, MOST_LEAVE_SHARE * float(allowed))
    earlier = {
        # A machine that comes late has little left; its clock is not wrong for that.
        "TUNEFARE_LAUNCH_TIMEOUT_S": f"{math.ceil(float(allowed))}",
        "TUNEFARE_ALLOWED_S": f"{float(allowed) - leave_s:.2f}",
        "TUNEFARE_MANAGED_LEAVE_S": f"{leave_s:.0f}",
    }
    if "TUNEFARE_END_AT" in envs:
        earlier["TUNEFARE_END_AT"] = f"{math.floor(float(envs['TUNEFARE_END_AT']) - leave_s)}"
    return earlier


def _limit_s(request: LaunchRequest, offer: Offer) -> float:
    limit_s = request.limit_s(offer)
    return math.inf if limit_s is None else limit_s
