"""The instances of the account, asked of the emulator itself: no rule of the proxy is in the way.

boto3 is imported inside the functions: a machine without it can still collect the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .layout import REGIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance, as the account has it."""

    instance_id: str
    region: str
    zone: str
    instance_type: str
    state: str
    """pending, running, shutting-down, terminated, stopping or stopped."""
    spot: bool
    address: str
    """Public address as AWS would give it; see `addresses`."""
    private_address: str
    tags: Mapping[str, str]

    @property
    def costs(self) -> bool:
        """Whether the account pays for it, disk included."""
        return self.state != "terminated"


@cache
def ec2(emulator_port: int, region: str) -> Any:
    """A client of the emulated EC2, past the proxy."""
    return client("ec2", emulator_port, region)


def client(service: str, emulator_port: int, region: str) -> Any:
    """A client of any emulated service, past the proxy."""
    import boto3

    return boto3.client(
        service,
        region_name=region,
        endpoint_url=f"http://127.0.0.1:{emulator_port}",
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )


def list_instances(emulator_port: int) -> list[Instance]:
    """All instances of all regions, terminated ones too."""
    found = []
    for region in REGIONS:
        for reservation in ec2(emulator_port, region).describe_instances()["Reservations"]:
            found += [_instance(region, values) for values in reservation["Instances"]]
    return found


def terminate(emulator_port: int, instance: Instance) -> None:
    """End an instance, as the provider itself would."""
    ec2(emulator_port, instance.region).terminate_instances(InstanceIds=[instance.instance_id])


def shut_down(emulator_port: int, instance: Instance) -> None:
    """What EC2 does when the machine shuts itself down: stop or terminate, as its launch said."""
    region = ec2(emulator_port, instance.region)
    asked = region.describe_instance_attribute(
        InstanceId=instance.instance_id, Attribute="instanceInitiatedShutdownBehavior"
    )
    if asked["InstanceInitiatedShutdownBehavior"].get("Value") == "terminate":
        terminate(emulator_port, instance)
    else:
        region.stop_instances(InstanceIds=[instance.instance_id])


def _instance(region: str, values: dict[str, Any]) -> Instance:
    private = values.get("PrivateIpAddress", "")
    return Instance(
        instance_id=values["InstanceId"],
        region=region,
        zone=values["Placement"]["AvailabilityZone"],
        instance_type=values["InstanceType"],
        state=values["State"]["Name"],
        spot=values.get("InstanceLifecycle") == "spot",
        address=values.get("PublicIpAddress") or private,
        private_address=private,
        tags={tag["Key"]: tag["Value"] for tag in values.get("Tags", [])},
    )
