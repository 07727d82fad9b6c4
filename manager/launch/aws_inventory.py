"""AWS asked directly what a run has rented there: instances, volumes, addresses, spot requests, by their tag.

Owns the questions and the orders to EC2. Credentials are boto3's own affair. Throttled calls are repeated by boto3
within the time limit; what a region has not answered by then, or refuses to answer, is told as silent, never as empty,
and hides nothing of what it did answer. An order names one thing that was found under the tag.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

from manager.errors import EngineError
from manager.launch.aws_records import ENDING, address_of, ended_at_s, instance_of, spot_request_of, volume_of
from manager.launch.inventory import RUN_TAG, Found, Rented, RentedKind, join
from manager.prices.ask_in_time import Answer, ask_in_time
from manager.prices.aws_live import explain_error, is_installed, not_installed

CLOUD = "aws"
_HOME_REGION = "us-east-1"
"""Asked for the list of regions; every account has it."""
_ALIVE = ("pending", "running", "shutting-down", "stopping", "stopped")
_OPEN = ("open", "active")
_SPOT_REQUESTS = "describe_spot_instance_requests"
_INSTANCES, _REQUESTS, _VOLUMES, _ADDRESSES = "instances", "spot requests", "volumes", "addresses"
_KINDS = (_INSTANCES, _REQUESTS, _VOLUMES, _ADDRESSES)
"""What a region is asked for, one after the other: the dearest first, and requests by the instances that they brought.
"""
_Records: TypeAlias = list[dict[str, Any]]
_NOT_THERE = (
    "InvalidInstanceID.NotFound",
    "InvalidVolume.NotFound",
    "InvalidAllocationID.NotFound",
    "InvalidAddress.NotFound",
    "InvalidSpotInstanceRequestID.NotFound",
)
_MAX_ATTEMPTS = 12
"""Of one call: the time limit of the whole question comes first."""


class AwsInventory:
    """The account that boto3 finds credentials for; see `manager.launch.inventory.Inventory`."""

    cloud = CLOUD

    def __init__(self, *, session: Any = None, limit_s: float = 30.0) -> None:
        """Args:
        session: a boto3 session; None: boto3's default credentials.
        limit_s: time for all questions of one call together.
        """
        self._given = session
        self._session: Any = session
        self._limit_s = limit_s
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def regions(self) -> Answer[list[str]]:
        """Regions that are enabled for the account, or why nobody knows."""
        if (missing := self._missing()) is not None:
            return Answer(reason=missing)
        return ask_in_time({CLOUD: self._enabled_regions}, limit_s=self._limit_s, explain=explain_error)[CLOUD]

    def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
        """What is under the tag in these regions, or under the tag of one run; see Inventory.find."""
        places = list(dict.fromkeys(regions))
        if (missing := self._missing()) is not None:
            return Found(silent={f"{CLOUD} {region}": missing for region in places})
        told: dict[str, dict[str, Answer[_Records]]] = {region: {} for region in places}
        jobs = {region: partial(self._ask, region, run_id, told[region]) for region in places}
        answers = ask_in_time(jobs, limit_s=self._limit_s, explain=explain_error)
        # What has answered counts, also where the region was late with the rest.
        found = join(_found(region, dict(told[region]), answers[region].reason or "") for region in places)
        if found.silent:
            self._forget()
        return found

    def remove(self, item: Rented) -> None:
        """Ask for the end of one thing; see Inventory.remove.

        Raises:
            EngineError: AWS refused, did not answer in time, or it is not under the tag any more.
        """
        if (missing := self._missing()) is not None:
            raise EngineError(f"{item.id} was not removed: {missing}", hint=item.remove_command)
        answers = ask_in_time({item.id: lambda: self._remove(item)}, limit_s=self._limit_s, explain=explain_error)
        if (reason := answers[item.id].reason) is not None:
            raise EngineError(f"{item.id} was not removed: {reason}", hint=f"type: {item.remove_command}")

    def ended_at_s(self, regions: Iterable[str], *, run_id: str) -> float | None:
        """When the last instance of a run ended, which EC2 knows for about an hour; see TellsEnds."""
        if self._missing() is not None:
            return None
        jobs = {region: partial(self._ends_in, region, run_id) for region in dict.fromkeys(regions)}
        answers = ask_in_time(jobs, limit_s=self._limit_s, explain=explain_error)
        ends: list[float | None] = [None for answer in answers.values() if answer.value is None]
        ends += [end for answer in answers.values() for end in answer.value or ()]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def _ends_in(self, region: str, run_id: str) -> list[float | None]:
        reservations = _all(self._client(region), "describe_instances", "Reservations", [_tagged(run_id)])
        return [ended_at_s(record) for reservation in reservations for record in reservation["Instances"]]

    def _enabled_regions(self) -> list[str]:
        answer = self._client(_HOME_REGION).describe_regions(AllRegions=False)
        return sorted(str(region["RegionName"]) for region in answer["Regions"])

    def _ask(self, region: str, run_id: str | None, told: dict[str, Answer[_Records]]) -> None:
        """Add each kind's answer, or why there is none."""
        client, tag = self._client(region), _tagged(run_id)
        for kind in _KINDS:
            try:
                told[kind] = Answer(value=_records(client, kind, tag, told))
            # The border to boto3: one kind that it raises for leaves the others.
            except Exception as error:
                told[kind] = Answer(reason=explain_error(error))

    def _remove(self, item: Rented) -> None:
        from botocore.exceptions import ClientError  # as boto3

        if item.region is None:
            raise EngineError(f"nobody said in which region {item.id} is")
        client = self._client(item.region)
        orders: dict[RentedKind, Callable[[], Any]] = {
            RentedKind.INSTANCE: lambda: client.terminate_instances(InstanceIds=[item.id]),
            RentedKind.VOLUME: lambda: client.delete_volume(VolumeId=item.id),
            RentedKind.ADDRESS: lambda: client.release_address(AllocationId=item.id),
            RentedKind.SPOT_REQUEST: lambda: client.cancel_spot_instance_requests(SpotInstanceRequestIds=[item.id]),
        }
        try:
            orders[item.kind]()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _NOT_THERE:
                raise

    def _missing(self) -> str | None:
        return None if self._given is not None or is_installed() else not_installed()

    def _forget(self) -> None:
        """Credentials that have expired may be there anew when AWS is asked again."""
        with self._lock:
            self._session = self._given
            self._clients.clear()

    def _client(self, region: str) -> Any:
        with self._lock:  # a session may not make clients in two threads at once
            if region not in self._clients:
                if self._session is None:
                    import boto3  # an extra, and a quarter of a second to load

                    self._session = boto3.Session()
                from botocore.config import Config

                config = Config(
                    connect_timeout=min(5.0, self._limit_s),
                    read_timeout=self._limit_s,
                    retries={"mode": "adaptive", "max_attempts": _MAX_ATTEMPTS},
                )
                self._clients[region] = self._session.client("ec2", region_name=region, config=config)
            return self._clients[region]


def terminate_command(region: str | None, run_id: str, instance_ids: Iterable[str] = ()) -> str:
    """The console command that ends the machines of a run: by their ids, else by whatever has its tag."""
    where = f"--region {shlex.quote(region)}" if region else "--region REGION"
    ids = " ".join(map(shlex.quote, instance_ids))
    if not ids:
        tag = shlex.quote(f"Name=tag:{RUN_TAG},Values={run_id}")
        states = "Name=instance-state-name,Values=pending,running,stopping,stopped"
        query = "--query 'Reservations[].Instances[].InstanceId' --output text"
        ids = f"$(aws ec2 describe-instances {where} --filters {tag} {states} {query})"
    return f"aws ec2 terminate-instances {where} --instance-ids {ids}"


def _tagged(run_id: str | None) -> dict[str, Any]:
    if run_id is None:
        return {"Name": "tag-key", "Values": [RUN_TAG]}
    return {"Name": f"tag:{RUN_TAG}", "Values": [run_id]}


def _records(client: Any, kind: str, tag: dict[str, Any], told: dict[str, Answer[_Records]]) -> _Records:
    """EC2's records of one kind; of spot requests also those that brought the instances told before."""
    if kind == _INSTANCES:
        states = {"Name": "instance-state-name", "Values": list(_ALIVE)}
        reservations = _all(client, "describe_instances", "Reservations", [tag, states])
        return [record for reservation in reservations for record in reservation["Instances"]]
    if kind == _REQUESTS:
        machines = [record["InstanceId"] for record in told[_INSTANCES].value or ()]
        return [*_all(client, _SPOT_REQUESTS, "SpotInstanceRequests", [tag]), *_requests_of(client, machines)]
    if kind == _VOLUMES:
        return _all(client, "describe_volumes", "Volumes", [tag])
    return _all(client, "describe_addresses", "Addresses", [tag])


def _found(region: str, told: dict[str, Answer[_Records]], reason: str) -> Found:
    """What a region's answers amount to.

    Args:
        region: that was asked.
        told: by kind; one that is not there was not answered.
        reason: why not all kinds were answered.
    """
    answers = {kind: told.get(kind, Answer(reason=reason)) for kind in _KINDS}
    records = {kind: answer.value or [] for kind, answer in answers.items()}
    instances = [instance_of(region, record) for record in records[_INSTANCES]]
    ending = {instance.id for instance in instances if instance.state in ENDING}
    runs = {instance.id: instance for instance in instances}
    requests = {record["SpotInstanceRequestId"]: record for record in records[_REQUESTS] if record["State"] in _OPEN}
    place = f"{CLOUD} {region}"
    silent = {f"{place} {kind}": answer.reason or "" for kind, answer in answers.items() if answer.value is None}
    return Found(
        items=(
            *instances,
            *(volume_of(region, record, ending) for record in records[_VOLUMES]),
            *(address_of(region, record) for record in records[_ADDRESSES]),
            *(spot_request_of(region, one, runs.get(one.get("InstanceId", ""))) for one in requests.values()),
        ),
        silent={place: answers[_INSTANCES].reason or ""} if len(silent) == len(_KINDS) else silent,
    )


def _requests_of(client: Any, machines: Iterable[str]) -> list[dict[str, Any]]:
    """Spot requests that brought tagged machines: SkyPilot does not tag them. Volumes and addresses are found by their
    own tag alone, for somebody may have lent one to the machine."""
    ids = sorted(machines)
    return _all(client, _SPOT_REQUESTS, "SpotInstanceRequests", [{"Name": "instance-id", "Values": ids}]) if ids else []


def _all(client: Any, operation: str, key: str, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not client.can_paginate(operation):
        return list(getattr(client, operation)(Filters=filters)[key])
    return [record for page in client.get_paginator(operation).paginate(Filters=filters) for record in page[key]]
