"""What SkyPilot's answers on a managed job mean: pure functions from the worker's JSON to the engine's values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from manager.errors import EngineError, NothingFitsError
from manager.launch.aws_inventory import CLOUD
from manager.launch.engine import Evidence, LaunchRequest, MachineState, MachineTime
from manager.launch.inventory import Found
from manager.launch.managed_record import ManagedRecord
from manager.launch.sky_answers import no_capacity
from manager.launch.sky_attempt import Attempt
from manager.launch.sky_evidence import direct_words, launches_words, not_asked_words
from manager.prices.offer import Offer
from manager.units import usd

_STATES = {
    "PENDING": MachineState.STARTING,
    "SUBMITTED": MachineState.STARTING,
    "STARTING": MachineState.STARTING,
    "RECOVERING": MachineState.STARTING,
    "RUNNING": MachineState.RUNNING,
    "WINDING_DOWN": MachineState.RUNNING,
    "CANCELLING": MachineState.RUNNING,
    "SUCCEEDED": MachineState.SUCCEEDED,
    "FAILED_SETUP": MachineState.SETUP_FAILED,
}
"""SkyPilot's states of a managed job; those not named (FAILED, FAILED_CONTROLLER, CANCELLED) are failures."""
RECOVERING = "RECOVERING"
CANCELLING = "CANCELLING"
NO_CAPACITY = frozenset({"FAILED_NO_RESOURCE", "FAILED_PRECHECKS"})
"""States of a job that never had a machine."""


def managed_state(answer: dict[str, Any]) -> MachineState:
    """The state of the run's task."""
    job = answer["job"]
    return MachineState.GONE if job is None else _STATES.get(job["status"], MachineState.FAILED)


def machines_of(answer: dict[str, Any], known: Sequence[MachineTime] = ()) -> list[MachineTime]:
    """The machines of an answer, oldest first; their price is that at which they were first told of."""
    prices = {_identity(one): one.price_usd_per_hour for one in known}
    found = []
    for one in answer["machines"]:
        # 0 is what SkyPilot says of a machine without a catalog price: unknown, not free.
        told = MachineTime(
            from_s=one["from_s"],
            to_s=one["to_s"],
            price_usd_per_hour=usd(one["price_usd_per_hour"]) if one["price_usd_per_hour"] else None,
            cloud=one["cloud"],
            region=one["region"],
            zone=one["zone"],
            instance_type=one["instance_type"],
        )
        found.append(replace(told, price_usd_per_hour=prices.get(_identity(told)) or told.price_usd_per_hour))
    return sorted(found, key=lambda one: one.from_s)


def up_from_s(answer: dict[str, Any], known: Sequence[float] = ()) -> tuple[float, ...]:
    """Starts of the machines that were told to be up, now or before."""
    now_up = (one["from_s"] for one in answer["machines"] if one["is_up"] and one["to_s"] is None)
    return tuple(sorted({*known, *now_up}))


def machines_had(record: ManagedRecord, *, had_last: bool, now_s: float) -> tuple[MachineTime, ...]:
    """The machines of a job that is over; a stretch in which SkyPilot only looked for a place is none.

    Args:
        record: of the job.
        had_last: whether the provider had one at its end, which may not have come up.
        now_s: end of a machine that is still told, Unix time.
    """
    found = [one for one in record.machines if one.from_s in record.up_from_s]
    if had_last and record.machines and record.machines[-1] not in found:
        found.append(record.machines[-1])
    return tuple(replace(one, to_s=now_s if one.to_s is None else one.to_s) for one in found)


def unasked_clouds(attempt: Attempt | None, record: ManagedRecord, answer: dict[str, Any]) -> set[str | None]:
    """Clouds beside AWS, which is asked itself, where the job may have had a machine and nobody has answered."""
    answered = {CLOUD} if answer["instances"] is None else {CLOUD, answer["provider"]}
    if not record.machines and record.is_over and record.looked_at_s is not None:
        return set()
    tried: Iterable[Attempt | MachineTime] = record.machines or (() if attempt is None else attempt.all)
    return {one.cloud for one in tried} - answered


def _identity(machine: MachineTime) -> tuple[object, ...]:
    """While it looks for a place SkyPilot keeps the time from which it counts, and tells of each place in turn."""
    return (machine.from_s, machine.cloud, machine.region, machine.zone, machine.instance_type)


def offer_of(machine: MachineTime, offers: Sequence[Offer]) -> Offer:
    """The offer that a machine is; the first where none is exactly it."""
    for offer in offers:
        if (offer.cloud, offer.region, offer.instance_type) == (machine.cloud, machine.region, machine.instance_type):
            return offer
    return offers[0]


def managed_evidence(
    name: str,
    asked_at_s: float,
    answer: dict[str, Any],
    *,
    direct: Found | None,
    unasked: bool,
    elsewhere: str | None = None,
) -> Evidence:
    """What the answers amount to; confirmed only when nobody knows of anything left.

    Args:
        name: of the job.
        asked_at_s: Unix time.
        answer: the worker's.
        direct: what AWS itself answered; None: the run was never there.
        unasked: whether there may have been a machine of which nobody was asked.
        elsewhere: machine that the launch was asked for on, where nothing of it is known here; None: it is known here.
    """
    job, instances, launches = answer["job"], answer["instances"], answer["launches"]
    is_over = job is None or job["is_over"]
    # Each of them may still make the job.
    left = [f"launch request {request}" for request in launches]
    left += [] if is_over else [f"managed job {job['job_id']} ({job['status']})"]
    words = [f"SkyPilot has no managed job {name}" if job is None else f"the managed job {name} is {job['status']}"]
    if launches:
        words.append(launches_words(launches))
    if answer["cluster"] is not None:
        left.append(answer["cluster"])
    words.append("SkyPilot has no machine of it" if answer["cluster"] is None else "SkyPilot has a machine of it")
    told = {item.id for item in direct.left} if direct is not None else set()
    if instances is not None:
        words.append(f"{answer['provider']} reports {len(instances) or 'no'} instances")
        left += [f"{instance} ({state})" for instance, state in instances.items() if instance not in told]
    if unasked:
        words.append(not_asked_words(elsewhere))
    if direct is not None:
        left += [item.told for item in direct.left]
        words += direct_words(direct)
    return Evidence(
        confirmed=not left and not unasked and (direct is None or not direct.silent),
        asked_at_s=asked_at_s,
        source="SkyPilot's table of managed jobs and clusters",
        answer="; ".join(words),
        left=tuple(left),
    )


def no_machine(request: LaunchRequest, job: dict[str, Any]) -> NothingFitsError | EngineError:
    """The error of a job that ended before its task began."""
    reason = job["reason"] or f"the managed job is {job['status']}"
    if job["status"] in NO_CAPACITY:
        return no_capacity(request, [reason], is_late=False)
    return EngineError(
        f"the managed job ended before its task began: {reason}", hint="Read sky.log in the run's folder."
    )
