"""What an AWS account has before SkyPilot comes: default networks with a way out, SkyPilot's role."""

import hashlib
import json

from .layout import REGIONS, ROLE_NAME, Layout
from .machines import client, ec2

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def furnish(layout: Layout, emulator_port: int) -> None:
    """Make the role and the routes, and note which subnet is in which zone."""
    iam = client("iam", emulator_port, REGIONS[0])
    # SkyPilot makes them itself where they are missing, and waits half a minute for AWS to know them.
    iam.create_instance_profile(InstanceProfileName=ROLE_NAME)
    iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=json.dumps(_TRUST))
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE_NAME, RoleName=ROLE_NAME)
    zones: dict[str, str] = {}
    for region in REGIONS:
        _open_network(emulator_port, region)
        subnets = ec2(emulator_port, region).describe_subnets()["Subnets"]
        zones |= {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in subnets}
    layout.subnets.write_text(json.dumps(zones))
    _write_zone_names(layout, emulator_port)


def _write_zone_names(layout: Layout, emulator_port: int) -> None:
    """What SkyPilot would ask of each region of the world at its first start: names of the zones' ids."""
    names = []
    for region in REGIONS:
        zones = ec2(emulator_port, region).describe_availability_zones()["AvailabilityZones"]
        names += [f"{zone['ZoneId']},{zone['ZoneName']}" for zone in zones]
    user = client("sts", emulator_port, REGIONS[0]).get_caller_identity()["UserId"]
    mark = hashlib.md5(user.encode(), usedforsecurity=False).hexdigest()[:8]
    file = layout.client_home / ".sky" / "catalogs" / "v8" / "aws" / f"az_mappings-{mark}.csv"
    file.write_text("\n".join(["AvailabilityZone,AvailabilityZoneName", *names]) + "\n")


def _open_network(emulator_port: int, region: str) -> None:
    """The emulator's default network has no gateway, and SkyPilot takes only subnets with a way out."""
    network = ec2(emulator_port, region)
    (vpc,) = (vpc["VpcId"] for vpc in network.describe_vpcs()["Vpcs"] if vpc["IsDefault"])
    gateway = network.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    network.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    main = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "association.main", "Values": ["true"]}]
    table = network.describe_route_tables(Filters=main)["RouteTables"][0]["RouteTableId"]
    network.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
