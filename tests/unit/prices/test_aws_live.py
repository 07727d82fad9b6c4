"""AWS asked directly: through moto, botocore's stubs, and servers on loopback that hang."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402
from botocore.exceptions import NoCredentialsError, ProfileNotFound, SSOTokenLoadError  # noqa: E402
from botocore.stub import Stubber  # noqa: E402

from manager.prices.aws_live import AwsAsker, explain_error  # noqa: E402

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")


class Stage:
    """A session whose clients answer from stubs, one per region."""

    def __init__(self, service: str, *regions: str) -> None:
        session = boto3.Session()
        self.service = service
        self.clients = {
            region: session.client(service, region_name=region, config=Config(retries={"max_attempts": 0}))
            for region in regions
        }
        self.stubs = {region: Stubber(client) for region, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()

    def client(self, service: str, *, region_name: str, config: Config) -> Any:
        assert service == self.service
        return self.clients[region_name]


def spot(zone: str, usd: str, hours_ago: float, instance_type: str = "g6.xlarge") -> dict[str, Any]:
    return {
        "AvailabilityZone": f"us-east-1{zone}",
        "AvailabilityZoneId": f"use1-{zone}",
        "InstanceType": instance_type,
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": usd,
        "Timestamp": NOW - timedelta(hours=hours_ago),
    }


def quota(name: str, code: str, value: float) -> dict[str, Any]:
    return {"QuotaName": name, "QuotaCode": code, "Value": value, "ServiceCode": "ec2"}


def test_newest_price_of_each_zone_over_all_pages() -> None:
    stage = Stage("ec2", "us-east-1")
    stub = stage.stubs["us-east-1"]
    first = {"SpotPriceHistory": [spot("a", "0.31", 5), spot("b", "0.29", 1)], "NextToken": "more"}
    local = [spot("lax1-a", "0.01", 1), {**spot("-lax-1a", "0.02", 1), "AvailabilityZoneId": ""}]
    records = [spot("a", "0.35", 2), spot("b", "0.28", 9), spot("c", "0", 1), *local]
    second = {"SpotPriceHistory": records, "NextToken": ""}
    stub.add_response("describe_spot_price_history", first)
    stub.add_response("describe_spot_price_history", second)
    answer = AwsAsker(session=stage).spot_prices(["us-east-1"], ["g6.xlarge"])["us-east-1"]
    assert answer.reason is None
    assert [(price.zone, price.usd_per_hour) for price in answer.value or ()] == [
        ("use1-b", Decimal("0.29")),
        ("use1-a", Decimal("0.35")),
    ]
    stub.assert_no_pending_responses()


def test_spot_prices_from_moto() -> None:
    moto = pytest.importorskip("moto")
    with moto.mock_aws():
        answers = AwsAsker(session=boto3.Session(), limit_s=30).spot_prices(["us-east-1", "eu-west-1"], ["g4dn.xlarge"])
    assert set(answers) == {"us-east-1", "eu-west-1"}
    for region, answer in answers.items():
        assert answer.reason is None
        assert answer.value
        assert {price.instance_type for price in answer.value} == {"g4dn.xlarge"}
        assert all(price.region == region and price.usd_per_hour > 0 for price in answer.value)


def test_quotas_of_accelerators_over_all_pages_and_nothing_else() -> None:
    stage = Stage("service-quotas", "us-east-1")
    stub = stage.stubs["us-east-1"]
    first = [quota("Running On-Demand P instances", "L-417A185B", 96.0), quota("EC2-VPC Elastic IPs", "L-0263D0A3", 5)]
    second = [quota("All G and VT Spot Instance Requests", "L-3819A6DF", 0.0)]
    stub.add_response("list_service_quotas", {"Quotas": first, "NextToken": "more"})
    stub.add_response("list_service_quotas", {"Quotas": second})
    answer = AwsAsker(session=stage).quotas(["us-east-1"])["us-east-1"]
    found = [(one.code, one.use_spot, one.covers, one.limit, one.unit, one.is_default) for one in answer.value or ()]
    assert found == [
        ("L-417A185B", False, ("P",), 96.0, "vCPUs", False),
        ("L-3819A6DF", True, ("G", "VT"), 0.0, "vCPUs", False),
    ]
    stub.assert_no_pending_responses()


def test_quotas_without_a_value_of_the_account_are_defaults() -> None:
    stage = Stage("service-quotas", "us-east-1")
    stub = stage.stubs["us-east-1"]
    stub.add_response(
        "list_service_quotas", {"Quotas": [quota("Running On-Demand G and VT instances", "L-DB2E81BA", 8)]}
    )
    defaults = [
        quota("Running On-Demand G and VT instances", "L-DB2E81BA", 0),
        quota("Running On-Demand P instances", "L-417A185B", 0),
        quota("All P5 Spot Instance Requests", "L-C4BD4855", 0),
    ]
    stub.add_response("list_aws_default_service_quotas", {"Quotas": defaults})
    answer = AwsAsker(session=stage).quotas(["us-east-1"])["us-east-1"]
    assert {one.code: (one.limit, one.is_default) for one in answer.value or ()} == {
        "L-DB2E81BA": (8.0, False),
        "L-417A185B": (0.0, True),
        "L-C4BD4855": (0.0, True),
    }


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "no permission servicequotas:ListServiceQuotas"),
        ("UnrecognizedClientException", "does not accept these credentials"),
        ("TooManyRequestsException", "too many requests"),
        ("SomethingNew", "AWS answers SomethingNew to ListServiceQuotas"),
    ],
)
def test_one_regions_refusal_is_its_own(code: str, words: str) -> None:
    stage = Stage("service-quotas", "us-east-1", "us-west-2")
    stage.stubs["us-east-1"].add_client_error("list_service_quotas", code)
    both = [
        quota("Running On-Demand P instances", "L-417A185B", 96),
        quota("All P5 Spot Instance Requests", "L-C4BD4855", 0),
    ]
    stage.stubs["us-west-2"].add_response("list_service_quotas", {"Quotas": both})
    answers = AwsAsker(session=stage).quotas(["us-east-1", "us-west-2"])
    assert words in str(answers["us-east-1"].reason)
    assert answers["us-east-1"].value is None
    assert len(answers["us-west-2"].value or ()) == 2


def test_what_moto_does_not_play_is_a_reason_too() -> None:
    moto = pytest.importorskip("moto")
    with moto.mock_aws():
        answer = AwsAsker(session=boto3.Session(), limit_s=30).quotas(["us-east-1"])["us-east-1"]
    assert answer.value is None
    assert answer.reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "aws configure"),
        (ProfileNotFound(profile="work"), "work"),
        (SSOTokenLoadError(error_msg="x"), "aws sso login"),
        (OSError("broken"), "OSError: broken"),
    ],
)
def test_errors_in_few_words(error: Exception, words: str) -> None:
    assert words in explain_error(error)


def test_without_credentials_each_region_has_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    answers = AwsAsker(limit_s=10).spot_prices(["us-east-1", "us-west-2"], ["g6.xlarge"])
    assert {answer.reason for answer in answers.values()} == {"no AWS credentials: run `aws configure`"}


def test_a_server_that_never_answers_costs_the_time_limit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with _silent_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        began_s = time.monotonic()
        regions = [f"us-east-{number}" for number in range(1, 21)]
        answers = AwsAsker(limit_s=1.5).quotas(regions)
        took_s = time.monotonic() - began_s
    assert {answer.reason for answer in answers.values()} <= {"no answer within 1.5 s", "AWS did not answer in time"}
    assert len(answers) == 20
    assert 1.0 < took_s < 4.0


@contextmanager
def _silent_server() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []
        server.settimeout(0.1)
        ended = threading.Event()

        def take() -> None:
            while not ended.is_set():
                try:
                    taken.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
            for connection in taken:
                connection.close()
