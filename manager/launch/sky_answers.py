"""What SkyPilot's answers mean: pure functions from the worker's JSON to the engine's values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from manager.errors import NothingFitsError
from manager.launch.engine import LaunchRequest, MachineState
from manager.launch.sky_worker import SkyPilotError
from manager.prices.offer import Offer
from manager.prices.slurm import SLURM
from manager.units import usd

REFUSED = frozenset({"ResourcesUnavailableError", "NoCloudAccessError", "UnknownOfferError", "PriceMovedError"})
"""Kinds of error after which the next offer is tried: no capacity or quota, no account, not in SkyPilot's catalog, or
dearer there than planned."""
MIN_CLOUD_LAUNCH_S = 600.0
"""A cloud's machine needs minutes to boot: an equal share of the time is lengthened to this while there is time."""
GONE = frozenset({"ClusterDoesNotExist", "LookupError"})
"""Kinds of error that say that there is no machine."""
JOB_STATES = {
    None: MachineState.STARTING,
    "INIT": MachineState.STARTING,
    "PENDING": MachineState.STARTING,
    "SETTING_UP": MachineState.STARTING,
    "RUNNING": MachineState.RUNNING,
    "SUCCEEDED": MachineState.SUCCEEDED,
    "FAILED_SETUP": MachineState.SETUP_FAILED,
}
"""SkyPilot's states of a job; those not named (FAILED, FAILED_DRIVER, CANCELLED) are failures."""


def state_of(answer: dict[str, Any]) -> MachineState:
    """The state that SkyPilot's table and the job's state amount to."""
    if answer["cluster"] is None:
        return MachineState.GONE
    if answer["cluster"] == "UP":
        return JOB_STATES.get(answer["job"], MachineState.FAILED)
    return MachineState.STARTING if answer["cluster"] == "INIT" else MachineState.UNKNOWN


def no_capacity(request: LaunchRequest, failed: list[str], *, is_late: bool) -> NothingFitsError:
    """The error when each offer was refused or gave no machine in time, with each reason."""
    what = f"no machine was ready within {request.launch_timeout_s:g} s" if is_late else "no offer had capacity"
    return NothingFitsError(
        f"{what}: {'; '.join(failed)}",
        hint="Allow more clouds, regions or accelerators under `where`, or try again later.",
    )


def refusal(offer: Offer, error: SkyPilotError) -> str:
    """One sentence on an offer that was not to be had."""
    reasons = error.history or (error.message,)
    reason = " | ".join(dict.fromkeys(" ".join(text.split()) for text in reasons))
    return f"{offer.key}: {reason[:600]}"


def offer_taken(offer: Offer, answer: dict[str, Any]) -> Offer:
    """The offer as SkyPilot filled it in: what it left open is known now, its price is the launch's.

    A planned price that was another stays visible as the flag `planned_price_usd_per_hour=...`.
    """
    region = answer["region"] if answer["region"] is not None else offer.region
    on_slurm = offer.cloud == "slurm"
    instance_type = offer.instance_type or (answer["zone"] if on_slurm else answer["instance_type"])
    taken = replace(offer, region=region, instance_type=instance_type)
    planned = offer.price_usd_per_hour
    # 0 is what SkyPilot says of a machine without a catalog price: unknown, not free.
    price = usd(answer["price_usd_per_hour"]) if answer["price_usd_per_hour"] else None
    if price is None or (planned is not None and price == usd(planned)):
        return taken
    flags = offer.flags if planned is None else (*offer.flags, f"planned_price_usd_per_hour={planned}")
    return replace(
        taken, price_usd_per_hour=price, price_source="SkyPilot, at the launch", price_age_s=None, flags=flags
    )


def share_s(offer: Offer, left_s: float, offers_left: int) -> float:
    """Seconds for this offer. A Slurm partition that is full queues the job for a day, if its site says nothing else;
    a cloud may hang as well: so none takes the time of those after it."""
    equal_s = left_s / offers_left
    return equal_s if offer.cloud == SLURM else min(left_s, max(equal_s, MIN_CLOUD_LAUNCH_S))
