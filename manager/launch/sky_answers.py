"""What SkyPilot's answers mean: pure functions from the worker's JSON to the engine's values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from manager.errors import NothingFitsError
from manager.launch.aws_end import ASKED
from manager.launch.engine import Evidence, LaunchRequest, MachineState
from manager.launch.inventory import Found
from manager.launch.sky_worker import SkyPilotError
from manager.prices.offer import Offer
from manager.units import usd

REFUSED = frozenset({"ResourcesUnavailableError", "NoCloudAccessError", "UnknownOfferError", "PriceMovedError"})
"""Kinds of error after which the next offer is tried: no capacity or quota, no account, not in SkyPilot's catalog, or
dearer there than planned."""
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


def evidence_of(
    name: str,
    asked_at_s: float,
    answer: dict[str, Any],
    *,
    was_launched: bool,
    direct: Found | None = None,
    elsewhere: str | None = None,
) -> Evidence:
    """What the answers amount to; confirmed only when nobody knows of anything left.

    Args:
        name: of the cluster.
        asked_at_s: Unix time.
        answer: the worker's.
        was_launched: whether there may have been a machine that only `answer` tells of; then SkyPilot's word alone
            confirms nothing.
        direct: what AWS itself answered; None: the run was never there.
        elsewhere: machine that the launch was asked for on, where nothing of it is known here; None: it is known here.
    """
    instances, provider = answer["instances"], answer["provider"]
    left = [f"launch request {request}" for request in answer["launches"]]
    if answer["cluster"] is not None:
        left.append(f"{name} ({answer['cluster']})")
    words = [f"SkyPilot has {'no' if answer['cluster'] is None else 'a'} cluster {name}"]
    if answer["launches"]:
        words.append(launches_words(answer["launches"]))
    if instances is not None:
        words.append(f"{provider} reports {len(instances)} instances" if instances else f"{provider} reports none")
    elif was_launched:
        words.append(not_asked_words(elsewhere))
    elif direct is None:
        words.append("no machine was launched that a provider could be asked about")
    told = {item.id for item in direct.left} if direct is not None else set()
    left += [f"{instance} ({state})" for instance, state in (instances or {}).items() if instance not in told]
    source = "SkyPilot status, forced refresh" + (f"; {provider}" if instances is not None else "")
    if direct is not None:
        left += [item.told for item in direct.left]
        words += direct_words(direct)
        source += f"; {ASKED}"
    answered = instances is not None or not was_launched
    return Evidence(
        confirmed=not left and answered and (direct is None or not direct.silent),
        asked_at_s=asked_at_s,
        source=source,
        answer="; ".join(words),
        left=tuple(left),
    )


def no_answer(asked_at_s: float, error: SkyPilotError, direct: Found | None) -> Evidence:
    """Evidence where SkyPilot did not answer: never confirmed, for it may still be launching; AWS's word is added."""
    return Evidence(
        confirmed=False,
        asked_at_s=asked_at_s,
        source="SkyPilot status, forced refresh" + ("" if direct is None else f"; {ASKED}"),
        answer="; ".join([f"no answer: {error.message}", *([] if direct is None else direct_words(direct))]),
        left=() if direct is None else tuple(item.told for item in direct.left),
    )


def launches_words(launches: Sequence[str]) -> str:
    """That SkyPilot was asked for machines and has not answered yet."""
    return f"{len(launches)} launch requests are unfinished"


def not_asked_words(elsewhere: str | None) -> str:
    """Why no provider could be asked about the machine.

    Args:
        elsewhere: as for `evidence_of`.
    """
    if elsewhere is None:
        return "the provider could not be asked: SkyPilot no longer knows how"
    return (
        f"the provider could not be asked: the launch was asked for on {elsewhere} and nothing of it is known here; "
        f"`tunefare reconcile` there can ask"
    )


def direct_words(direct: Found) -> list[str]:
    """What AWS itself said, in words."""
    words = [f"{place} did not answer: {reason}" for place, reason in direct.silent.items()]
    kinds = Counter(str(item.kind).replace("_", " ") for item in direct.left)
    if kinds:
        words.append(f"AWS itself reports {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}")
    elif not direct.silent:
        words.append("AWS itself reports no instance, volume, address or spot request of the run")
    words += [f"{item.id} is {item.state}" for item in direct.items if item.is_going]
    return words
