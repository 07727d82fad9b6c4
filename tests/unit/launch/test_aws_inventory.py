"""What AWS says is rented, through moto: by tag, in every kind, with regions that do not answer told as silent."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from manager.errors import EngineError
from manager.launch.aws_end import end_items
from manager.launch.aws_inventory import AwsInventory, terminate_command
from manager.launch.aws_records import ended_at_s
from manager.launch.inventory import Rented, RentedKind
from tests.support.aws_account import AwsAccount

EAST, WEST = "us-east-1", "us-west-2"


def kinds(items: tuple[Rented, ...]) -> list[tuple[str, str | None, bool]]:
    return sorted((str(item.kind), item.run_id, item.is_going) for item in items)


def test_machine_and_disk_of_a_run_are_found_by_their_tag(account: AwsAccount) -> None:
    machine = account.machine(EAST, run_id="r1", disk_gib=100)
    account.machine(EAST, run_id=None)
    found = AwsInventory().find([EAST, WEST])
    assert not found.silent
    assert kinds(found.items) == [("instance", "r1", False), ("volume", "r1", False)]
    instance, volume = found.items
    assert (instance.id, instance.state, instance.name) == (machine, "running", "g5.xlarge")
    assert (instance.user, instance.cluster) == ("somebody", "tf-r1-0a1b2c3d")
    assert instance.remove_command == f"aws ec2 terminate-instances --region {EAST} --instance-ids {machine}"
    assert instance.usd_per_month is None
    assert (volume.size_gib, volume.usd_per_month) == (Decimal(100), Decimal("8.00"))
    assert volume.state == f"in-use by {machine}"
    assert volume.told == f"aws us-east-1 {volume.id} (in-use by {machine})"


def test_only_the_run_that_is_asked_for(account: AwsAccount) -> None:
    account.machine(EAST, run_id="r1")
    account.machine(EAST, run_id="r10")
    assert {item.run_id for item in AwsInventory().find([EAST], run_id="r1").items} == {"r1"}


def test_what_is_removed_is_found_no_more(account: AwsAccount) -> None:
    account.machine(EAST, run_id="r1")
    account.address(EAST, run_id="r1")
    other = account.machine(EAST, run_id=None)
    inventory = AwsInventory()
    for _ in range(2):  # The disk can go when the machine has gone.
        for item in inventory.find([EAST]).left:
            if item.kind is not RentedKind.VOLUME or item.state == "available":
                inventory.remove(item)
    assert inventory.find([EAST]).items == ()
    assert account.state(EAST, other) == "running"


def test_what_is_gone_already_is_removed(account: AwsAccount) -> None:
    account.machine(EAST, run_id="r1")
    inventory = AwsInventory()
    volume = account.free_volume(EAST, run_id="r1")
    item = next(item for item in inventory.find([EAST]).items if item.id == volume)
    inventory.remove(item)
    inventory.remove(item)
    assert volume not in [left.id for left in inventory.find([EAST]).items]


def test_a_disk_in_use_is_refused_by_aws_and_told(account: AwsAccount) -> None:
    account.machine(EAST, run_id="r1")
    inventory = AwsInventory()
    volume = next(item for item in inventory.find([EAST]).items if item.kind is RentedKind.VOLUME)
    with pytest.raises(EngineError, match="VolumeInUse") as caught:
        inventory.remove(volume)
    assert caught.value.hint == f"type: aws ec2 delete-volume --region us-east-1 --volume-id {volume.id}"


def test_somebody_elses_disk_on_our_machine_is_not_ours(account: AwsAccount) -> None:
    machine = account.machine(EAST, run_id="r1")
    lent = account.free_volume(EAST, run_id=None)
    account.client(EAST).attach_volume(VolumeId=lent, InstanceId=machine, Device="/dev/sdf")
    assert lent not in {item.id for item in AwsInventory().find([EAST]).items}


def test_enabled_regions(account: AwsAccount) -> None:
    regions = AwsInventory().regions().value
    assert regions is not None
    assert {EAST, WEST} <= set(regions)


class Session:
    """Clients that answer with an error, or never, in some regions."""

    def __init__(self, errors: dict[str, Exception | None]) -> None:
        self.errors = errors
        self.let_go = threading.Event()

    def client(self, service: str, *, region_name: str, config: Any) -> Any:
        assert service == "ec2"
        assert config.retries["mode"] == "adaptive"
        if region_name not in self.errors:
            return boto3.Session().client(service, region_name=region_name)
        return _Failing(self.errors[region_name], self.let_go)


class _Failing:
    def __init__(self, error: Exception | None, let_go: threading.Event) -> None:
        self._error = error
        self._let_go = let_go

    def can_paginate(self, operation: str) -> bool:
        return False

    def describe_instances(self, **_: Any) -> Any:
        if self._error is None:
            self._let_go.wait()
        raise self._error or TimeoutError

    terminate_instances = describe_instances


REFUSED_KINDS = {
    "describe_addresses": ("address", "addresses"),
    "describe_instances": ("instance", "instances"),
    "describe_spot_instance_requests": ("spot_request", "spot requests"),
}


class RefusingSession:
    """Clients of moto that refuse one operation, or never answer it."""

    def __init__(self, operation: str, *, error: str | None = "UnauthorizedOperation") -> None:
        self.operation = operation
        self.error = error
        self.let_go = threading.Event()

    def client(self, service: str, *, region_name: str, config: Any) -> Any:
        return _Refusing(boto3.Session().client(service, region_name=region_name), self)


class _Refusing:
    def __init__(self, client: Any, session: RefusingSession) -> None:
        self._client = client
        self._session = session

    def can_paginate(self, operation: str) -> bool:
        return not self._refuses(operation) and bool(self._client.can_paginate(operation))

    def __getattr__(self, name: str) -> Any:
        return self._refuse if self._refuses(name) else getattr(self._client, name)

    def _refuses(self, name: str) -> bool:
        # A thread that was left to itself goes on to the next kind, maybe when moto plays no account any more.
        return name == self._session.operation or self._session.let_go.is_set()

    def _refuse(self, **_: Any) -> Any:
        if self._session.error is None:
            self._session.let_go.wait()
            raise TimeoutError
        raise refused(self._session.error)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeInstances")


def test_regions_that_do_not_answer_are_silent_and_the_others_told(account: AwsAccount) -> None:
    account.machine(EAST, run_id="r1")
    session = Session({WEST: refused("RequestLimitExceeded"), "eu-west-1": refused("UnauthorizedOperation")})
    found = AwsInventory(session=session).find([EAST, WEST, "eu-west-1"])
    assert len(found.items) == 2
    assert found.silent == {
        "aws us-west-2": "AWS answers too many requests (RequestLimitExceeded); try again later",
        "aws eu-west-1": "these AWS credentials have no permission ec2:DescribeInstances",
    }


def test_a_region_that_hangs_holds_up_no_other(account: AwsAccount) -> None:
    account.machine(EAST, run_id="r1")
    session = Session({WEST: None})
    try:
        found = AwsInventory(session=session, limit_s=3.0).find([EAST, WEST])
    finally:
        session.let_go.set()
    assert len(found.items) == 2
    assert found.silent == {"aws us-west-2": "no answer within 3 s"}


@pytest.mark.parametrize("operation", ["describe_addresses", "describe_instances", "describe_spot_instance_requests"])
def test_a_kind_that_is_refused_hides_no_other(account: AwsAccount, operation: str) -> None:
    machine = account.machine(EAST, run_id="r1")
    account.address(EAST, run_id="r1")
    inventory = AwsInventory(session=RefusingSession(operation))
    found = inventory.find([EAST], run_id="r1")
    kind, what = REFUSED_KINDS[operation]
    assert {str(item.kind) for item in found.items} == {"instance", "volume", "address"} - {kind}
    assert found.silent == {f"aws us-east-1 {what}": "these AWS credentials have no permission ec2:DescribeInstances"}
    ended = end_items(inventory, found.left)
    assert ended == ()
    assert account.state(EAST, machine) == ("running" if kind == "instance" else "terminated")


def test_what_a_region_answered_before_it_hung_is_told(account: AwsAccount) -> None:
    machine = account.machine(EAST, run_id="r1")
    session = RefusingSession("describe_volumes", error=None)
    try:
        found = AwsInventory(session=session, limit_s=3.0).find([EAST], run_id="r1")
    finally:
        session.let_go.set()
    assert [item.id for item in found.items] == [machine]
    assert found.silent == {f"aws us-east-1 {kind}": "no answer within 3 s" for kind in ("volumes", "addresses")}


def test_a_refused_removal_names_the_command(account: AwsAccount) -> None:
    machine = account.machine(EAST, run_id="r1")
    item = AwsInventory().find([EAST]).items[0]
    inventory = AwsInventory(session=Session({EAST: refused("UnauthorizedOperation")}))
    with pytest.raises(EngineError) as caught:
        inventory.remove(item)
    assert caught.value.hint == f"type: aws ec2 terminate-instances --region us-east-1 --instance-ids {machine}"
    assert account.state(EAST, machine) == "running"


@pytest.mark.parametrize(
    ("region", "ids", "expected"),
    [
        (EAST, ("i-1", "i-2"), "aws ec2 terminate-instances --region us-east-1 --instance-ids i-1 i-2"),
        (EAST, ("i-1; reboot",), "aws ec2 terminate-instances --region us-east-1 --instance-ids 'i-1; reboot'"),
    ],
)
def test_the_console_command_by_ids(region: str, ids: tuple[str, ...], expected: str) -> None:
    assert terminate_command(region, "r1", ids) == expected


def test_the_console_command_without_ids_looks_for_the_tag() -> None:
    command = terminate_command(EAST, "r1; reboot")
    assert command.startswith("aws ec2 terminate-instances --region us-east-1 --instance-ids $(aws ec2 describe-inst")
    assert "--filters 'Name=tag:tunefare-run,Values=r1; reboot' " in command


def test_when_the_last_machine_of_a_run_ended(account: AwsAccount) -> None:
    ours = [account.machine(EAST, run_id="r1"), account.machine(EAST, run_id="r1")]
    account.machine(EAST, run_id="r2")
    inventory = AwsInventory()
    client = account.client(EAST)
    client.terminate_instances(InstanceIds=ours[:1])
    assert inventory.ended_at_s([EAST], run_id="r1") is None, "one is there"
    before_s = int(time.time())
    client.terminate_instances(InstanceIds=ours[1:])
    ended_s = inventory.ended_at_s([EAST, WEST], run_id="r1")
    assert ended_s is not None
    assert before_s <= ended_s <= time.time()
    assert inventory.ended_at_s([EAST], run_id="nobody") is None


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("terminated", "User initiated (2026-11-22 06:46:00 GMT)", 1795329960.0),
        ("shutting-down", "User initiated (2026-11-22 06:46:00 UTC)", 1795329960.0),
        ("stopped", "User initiated (2026-11-22 06:46:00 GMT)", None),
        ("terminated", "Server.SpotInstanceTermination: Spot instance termination", None),
        ("terminated", "", None),
    ],
)
def test_the_end_is_in_the_reason(state: str, reason: str, expected: float | None) -> None:
    assert ended_at_s({"State": {"Name": state}, "StateTransitionReason": reason}) == expected
