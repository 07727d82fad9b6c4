"""The second path to the end of a run on AWS, and the provider's own word on what is left: past SkyPilot.

Owns in which regions a run is looked for and in which order its things are ended. What has no tag of the run is not
touched.
"""

from __future__ import annotations

from collections.abc import Sequence

from manager.errors import EngineError
from manager.launch.aws_inventory import CLOUD
from manager.launch.inventory import AskedInventory, Found, Rented, RentedKind, TellsEnds
from manager.launch.sky_attempt import Attempt

ASKED = "EC2 DescribeInstances, DescribeVolumes, DescribeAddresses, DescribeSpotInstanceRequests"
"""What evidence names as its source."""
_ORDER = (RentedKind.SPOT_REQUEST, RentedKind.INSTANCE, RentedKind.ADDRESS, RentedKind.VOLUME)
"""A request first, which could bring another machine; a disk last, which is free when its machine has gone."""
_FREE = "available"


def was_on_aws(attempt: Attempt | None) -> bool:
    """Whether SkyPilot was ever asked for a machine of AWS."""
    return attempt is not None and any(one.cloud == CLOUD for one in attempt.all)


def left_on_aws(inventory: AskedInventory, run_id: str, attempt: Attempt) -> Found:
    """What AWS says of a run, in every region where it was tried."""
    regions = regions_of(attempt)
    if not regions:
        enabled = inventory.regions()
        if enabled.value is None:
            return Found(silent={CLOUD: enabled.reason or "no answer"})
        regions = tuple(enabled.value)
    return inventory.find(regions, run_id=run_id)


def maybe_on_aws(inventory: AskedInventory, run_id: str, attempt: Attempt | None) -> bool:
    """Whether AWS has an instance of the run, or a region where it was tried does not say."""
    if attempt is None or not was_on_aws(attempt):
        return False
    found = left_on_aws(inventory, run_id, attempt)
    return bool(found.silent) or any(item.kind is RentedKind.INSTANCE for item in found.items)


def end_on_aws(inventory: AskedInventory, run_id: str, attempt: Attempt) -> tuple[str, ...]:
    """Ask AWS for the end of everything that is under the run's tag; what it did not do, a sentence each."""
    found = left_on_aws(inventory, run_id, attempt)
    return (*(f"{place}: {reason}" for place, reason in found.silent.items()), *end_items(inventory, found.left))


def end_items(inventory: AskedInventory, items: Sequence[Rented]) -> tuple[str, ...]:
    """Ask for the end of these, machines before their disks; what was refused, a sentence each.

    A disk in use is left alone: it goes with its machine, or is free when this is asked for again.
    """
    refused: list[str] = []
    for item in sorted((one for one in items if one.kind in _ORDER), key=lambda one: _ORDER.index(one.kind)):
        if item.is_going or (item.kind is RentedKind.VOLUME and item.state != _FREE):
            continue
        try:
            inventory.remove(item)
        except EngineError as error:
            refused.append(error.message)
    return tuple(refused)


def last_end_on_aws(inventory: AskedInventory, run_id: str, attempt: Attempt | None) -> float | None:
    """Unix time at which the last machine of a run ended there; None: one is there, or nobody knows."""
    if attempt is None or attempt.cloud != CLOUD or not isinstance(inventory, TellsEnds):
        return None
    return inventory.ended_at_s(regions_of(attempt), run_id=run_id)


def regions_of(attempt: Attempt) -> tuple[str, ...]:
    """Regions of AWS where SkyPilot was asked for machines; empty: it may have been any."""
    found: list[str] = []
    for one in attempt.all:
        config = (one.provider or {}).get("config") or {}
        named = [region for region in (one.region, config.get("region")) if isinstance(region, str)]
        if one.cloud == CLOUD and not named:
            return ()
        found += named if one.cloud == CLOUD else []
    return tuple(dict.fromkeys(found))
