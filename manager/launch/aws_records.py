"""EC2's records as `Rented`: pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from manager.launch.inventory import CLUSTER_TAG, RUN_TAG, USER_TAG, Rented, RentedKind
from manager.prices.storage_prices import address_usd_per_month, volume_usd_per_month

ENDING = frozenset({"shutting-down", "terminated"})
"""States of an instance that are not billed (docs.aws.amazon.com, Amazon EC2 instance state changes)."""
_ENDED = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
_VOLUME_ENDING = frozenset({"deleting", "deleted"})


def instance_of(region: str, record: dict[str, Any]) -> Rented:
    """Of DescribeInstances; its price per month is not in EC2's answer."""
    tags, state = _tags(record), str(record["State"]["Name"])
    spot = ", spot" if record.get("InstanceLifecycle") == "spot" else ""
    return Rented(
        kind=RentedKind.INSTANCE,
        cloud="aws",
        region=region,
        id=record["InstanceId"],
        name=f"{record['InstanceType']}{spot}",
        state=state,
        run_id=tags.get(RUN_TAG) or None,
        created_at_s=_unix(record.get("LaunchTime")),
        usd_per_month=Decimal(0) if state in ENDING else None,
        remove_command=f"aws ec2 terminate-instances --region {region} --instance-ids {record['InstanceId']}",
        is_going=state in ENDING,
        user=tags.get(USER_TAG),
        cluster=tags.get(CLUSTER_TAG),
    )


def ended_at_s(record: dict[str, Any]) -> float | None:
    """Unix time at which an instance of DescribeInstances was told to end; None: it was not, or EC2 does not say.

    `StateTransitionReason` has it in brackets, to the second; a bill ends there.
    """
    told = _ENDED.search(str(record.get("StateTransitionReason", "")))
    if str(record["State"]["Name"]) not in ENDING or told is None:
        return None
    return datetime.strptime(told[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def volume_of(region: str, record: dict[str, Any], ending: Collection[str]) -> Rented:
    """Of DescribeVolumes.

    Args:
        region: of the answer.
        record: of one volume.
        ending: ids of machines that are being ended; a volume that is deleted with one of them is going.
    """
    tags, state, size = _tags(record), str(record["State"]), Decimal(record["Size"])
    attached = record.get("Attachments") or []
    machines = ", ".join(str(one["InstanceId"]) for one in attached if one.get("InstanceId"))
    goes_along = bool(attached) and all(
        one.get("DeleteOnTermination") and one.get("InstanceId") in ending for one in attached
    )
    return Rented(
        kind=RentedKind.VOLUME,
        cloud="aws",
        region=region,
        id=record["VolumeId"],
        name=f"{size} GiB {record['VolumeType']}",
        state=f"{state} by {machines}" if machines else state,
        run_id=tags.get(RUN_TAG) or None,
        created_at_s=_unix(record.get("CreateTime")),
        usd_per_month=volume_usd_per_month(
            region, record["VolumeType"], gib=size, iops=record.get("Iops"), mibps=record.get("Throughput")
        ),
        remove_command=f"aws ec2 delete-volume --region {region} --volume-id {record['VolumeId']}",
        is_going=goes_along or state in _VOLUME_ENDING,
        user=tags.get(USER_TAG),
        cluster=tags.get(CLUSTER_TAG),
        size_gib=size,
    )


def address_of(region: str, record: dict[str, Any]) -> Rented:
    """Of DescribeAddresses."""
    tags, machine = _tags(record), record.get("InstanceId")
    return Rented(
        kind=RentedKind.ADDRESS,
        cloud="aws",
        region=region,
        id=record["AllocationId"],
        name=str(record.get("PublicIp", "address")),
        state=f"in use by {machine}" if machine else "free",
        run_id=tags.get(RUN_TAG) or None,
        created_at_s=None,
        usd_per_month=address_usd_per_month("aws", region),
        remove_command=f"aws ec2 release-address --region {region} --allocation-id {record['AllocationId']}",
        user=tags.get(USER_TAG),
        cluster=tags.get(CLUSTER_TAG),
    )


def spot_request_of(region: str, record: dict[str, Any], machine: Rented | None) -> Rented:
    """Of DescribeSpotInstanceRequests.

    Args:
        region: of the answer.
        record: of one request.
        machine: that it brought, whose tags count for it; None: the request has tags of its own.
    """
    tags, request_id = _tags(record), record["SpotInstanceRequestId"]
    kind = str(record.get("Type", "one-time"))
    return Rented(
        kind=RentedKind.SPOT_REQUEST,
        cloud="aws",
        region=region,
        id=request_id,
        name=f"{kind} spot request",
        state=str(record["State"]),
        run_id=tags.get(RUN_TAG) or (machine.run_id if machine else None),
        created_at_s=_unix(record.get("CreateTime")),
        usd_per_month=Decimal(0),
        remove_command=(
            f"aws ec2 cancel-spot-instance-requests --region {region} --spot-instance-request-ids {request_id}"
        ),
        # A persistent request brings another machine for the one that ends.
        is_going=kind == "one-time" and machine is not None and machine.is_going,
        user=tags.get(USER_TAG) or (machine.user if machine else None),
        cluster=tags.get(CLUSTER_TAG) or (machine.cluster if machine else None),
    )


def _tags(record: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in record.get("Tags") or []}


def _unix(time: Any) -> float | None:
    return None if time is None else float(time.timestamp())
