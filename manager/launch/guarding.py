"""What the dead-man timer of a launch is told: until when it may live, and how long which silence is borne. Pure.

The timer itself is templates/sky/deadman.sh; it runs on a rented machine and beside a local run. Its limit is the cap
itself, the last moment. The trainer stops earlier, by what bringing the results home and the take-down may need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from manager.launch.engine import GuardName, LaunchRequest
from manager.prices.offer import Offer

SCRIPTS = ("deadman.sh", "deadman_end.py")
"""Of templates/sky; they lie beside the job file."""
MIN_SILENCE_S = 300.0
"""A trainer that computes in one long call may keep its other threads from giving a sign of life."""
BEATS_OF_SILENCE = 10
MIN_END_S = 60.0
"""For trainer and machine to end, where the launch says nothing of it; half of it is the trainer's."""
MIN_FETCH_S = 600.0
"""After the trainer's end, for results on their way home whatever the plan says; as long as they are waited for."""
_OFF = {"TUNEFARE_DEADMAN": "off"}


def deadman_environment(
    request: LaunchRequest, offers: Sequence[Offer], *, billing_started_s: float | None
) -> dict[str, str]:
    """The timer's inputs; of several offers the tightest limit.

    Args:
        request: the launch.
        offers: one of these will be taken.
        billing_started_s: Unix time; None: unknown, so that the limit counts from when the timer is armed.
    """
    if GuardName.MACHINE not in request.guards:
        return dict(_OFF)
    guard = request.job.guard
    environment = {
        "TUNEFARE_SILENCE_S": _seconds(max(MIN_SILENCE_S, BEATS_OF_SILENCE * guard.heartbeat_s)),
        "TUNEFARE_IDLE_S": _seconds(60.0 * request.idle_minutes_to_autostop),
        "TUNEFARE_FETCH_MOST_S": _seconds(max(MIN_FETCH_S, request.wrap_up_s)),
        "TUNEFARE_LAUNCH_TIMEOUT_S": _seconds(request.launch_timeout_s),
    }
    clouds = {offer.cloud for offer in offers}
    if len(clouds) == 1:
        environment["TUNEFARE_CLOUD"] = clouds.pop()
    if guard.hang_s is not None:
        environment["TUNEFARE_HANG_S"] = _seconds(guard.hang_s)
    limits = [limit_s for offer in offers if (limit_s := request.limit_s(offer)) is not None]
    if limits:
        limit_s = min(limits)
        end_s = request.end_s(limit_s) or min(MIN_END_S, limit_s / 4)
        environment["TUNEFARE_ALLOWED_S"] = f"{limit_s:.2f}"
        environment["TUNEFARE_WRAP_UP_S"] = f"{end_s:.2f}"
        if billing_started_s is not None:
            environment["TUNEFARE_END_AT"] = f"{math.floor(billing_started_s + limit_s)}"
    return environment


def _seconds(value: float) -> str:
    return f"{math.ceil(value)}"
