"""AWS asked directly: spot prices of this minute and the account's quotas of accelerators.

Optional (extra `aws`) and never a reason to fail: whatever goes wrong is an unknown with its reason. Credentials are
boto3's own affair and are neither read nor kept here.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from manager.errors import how_to_install
from manager.prices.ask_in_time import Answer, ask_in_time
from manager.prices.quota import VCPUS, Quota, aws_quota_subject

_LINUX = "Linux/UNIX"
"""As the API names the price without Windows, SUSE or Red Hat; in a VPC it is the same price under a longer name."""
_SERVICE_CODE = "ec2"
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_NOT_ACCEPTED = (
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotPrice:
    """The newest spot price of a machine in one zone."""

    region: str
    zone: str
    """The zone's id (`use1-az1`), which is the same for all accounts, where AWS names it; else its name."""
    instance_type: str
    usd_per_hour: Decimal
    since_s: float
    """Unix time since when this price holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who these credentials are (STS GetCallerIdentity, which needs no permission)."""

    arn: str | None
    """None: AWS did not say, and `reason` says why."""
    reason: str | None = None
    is_refused: bool = False
    """Whether the credentials are missing, wrong or expired, which no other try changes."""


class AwsAsker:
    """Asks AWS; clients are made once per service and region."""

    def __init__(self, *, session: Any = None, limit_s: float = 20.0) -> None:
        """Args:
        session: a boto3 session; None: boto3's default credentials.
        limit_s: time for all questions of one call together.
        """
        self._given = session
        self._limit_s = limit_s
        self._lock = threading.Lock()

    def spot_prices(self, regions: Iterable[str], instance_types: Sequence[str]) -> dict[str, Answer[list[SpotPrice]]]:
        """Newest price per zone and type, by region (EC2 DescribeSpotPriceHistory)."""
        types = sorted(set(instance_types))
        jobs = {region: lambda region=region: self._spot_prices(region, types) for region in dict.fromkeys(regions)}
        return ask_in_time(jobs, limit_s=self._limit_s, explain=explain_error)

    def quotas(self, regions: Iterable[str]) -> dict[str, Answer[list[Quota]]]:
        """Limits in vCPUs per family, by region (Service Quotas ListServiceQuotas)."""
        jobs = {region: lambda region=region: self._quotas(region) for region in dict.fromkeys(regions)}
        return ask_in_time(jobs, limit_s=self._limit_s, explain=explain_error)

    def identity(self, region: str) -> Identity:
        """Who AWS takes this user for, in a region."""
        refused: list[bool] = []

        def explain(error: Exception) -> str:
            refused.append(_is_about_credentials(error))
            return explain_error(error)

        def who() -> str:
            return str(self._client("sts", region).get_caller_identity()["Arn"])

        answer = ask_in_time({region: who}, limit_s=self._limit_s, explain=explain)[region]
        return Identity(arn=answer.value, reason=answer.reason, is_refused=any(refused))

    def _spot_prices(self, region: str, types: list[str]) -> list[SpotPrice]:
        newest: dict[tuple[str, str], SpotPrice] = {}
        pages = self._client("ec2", region).get_paginator("describe_spot_price_history")
        # From now on: the price that holds in each zone, and no history.
        asked = {
            "StartTime": datetime.now(UTC),
            "InstanceTypes": types,
            "ProductDescriptions": [_LINUX, f"{_LINUX} (Amazon VPC)"],
        }
        for page in pages.paginate(**asked):
            for record in page["SpotPriceHistory"]:
                price = _spot_price(region, record)
                if price is None:
                    continue
                key = (price.zone, price.instance_type)
                if key not in newest or newest[key].since_s < price.since_s:
                    newest[key] = price
        return sorted(newest.values(), key=lambda price: (price.instance_type, price.usd_per_hour, price.zone))

    def _quotas(self, region: str) -> list[Quota]:
        client = self._client("service-quotas", region)
        found = _read_quotas(client.get_paginator("list_service_quotas"), region, is_default=False)
        # AWS leaves out quotas of which it has no value of this account's own.
        if not any(quota.covers == ("P",) for quota in found.values()) or not any(q.use_spot for q in found.values()):
            defaults = _read_quotas(client.get_paginator("list_aws_default_service_quotas"), region, is_default=True)
            found = {**defaults, **found}
        return sorted(found.values(), key=lambda quota: (quota.use_spot, quota.name))

    def _session(self) -> Any:
        if self._given is None:
            import boto3  # an extra, and a quarter of a second to load

            self._given = boto3.Session()
        return self._given

    def _client(self, service: str, region: str) -> Any:
        with self._lock:  # a session may not make clients in two threads at once
            session = self._session()
            from botocore.config import Config

            config = Config(
                connect_timeout=min(5.0, self._limit_s),
                read_timeout=self._limit_s,
                retries={"mode": "standard", "max_attempts": 3},
            )
            return session.client(service, region_name=region, config=config)


def is_installed() -> bool:
    """Whether boto3 is there."""
    return importlib.util.find_spec("boto3") is not None


def not_installed() -> str:
    """What to say when it is not."""
    return f"boto3 is not installed: {how_to_install('aws')}"


def explain_error(error: Exception) -> str:
    """Why AWS did not answer, in few words."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _explain_code(error)
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no AWS credentials: run `aws configure`"
    if isinstance(error, exceptions.ProfileNotFound):
        return f"AWS profile is missing: {error}"
    if isinstance(error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError):
        return "AWS did not answer in time"
    if isinstance(error, exceptions.EndpointConnectionError):
        return "AWS cannot be reached from here"
    if "SSO" in type(error).__name__ or "Token" in type(error).__name__:
        return "the AWS login has expired: run `aws sso login`"
    return f"{type(error).__name__}: {str(error)[:200]}"


def _is_about_credentials(error: Exception) -> bool:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        return code in _NOT_ACCEPTED
    missing = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound)
    return isinstance(error, missing) or "SSO" in type(error).__name__ or "Token" in type(error).__name__


def _explain_code(error: Any) -> str:
    code = str(error.response.get("Error", {}).get("Code", ""))
    operation = error.operation_name
    if code in _DENIED:
        service = "servicequotas" if "Quota" in operation else "ec2"
        return f"these AWS credentials have no permission {service}:{operation}"
    if code in _NOT_ACCEPTED:
        return f"AWS does not accept these credentials here ({code}); the region may not be enabled"
    if code in _THROTTLED:
        return f"AWS answers too many requests ({code}); try again later"
    return f"AWS answers {code} to {operation}"


def _spot_price(region: str, record: dict[str, Any]) -> SpotPrice | None:
    """None where the price is none that may be believed, or that of a Local Zone, which an account has to enable."""
    try:
        usd = Decimal(record["SpotPrice"])
    except InvalidOperation:
        return None
    if not usd.is_finite() or usd <= 0 or _is_local_zone(record):
        return None
    return SpotPrice(
        region=region,
        zone=record.get("AvailabilityZoneId") or record.get("AvailabilityZone", ""),
        instance_type=record["InstanceType"],
        usd_per_hour=usd,
        since_s=record["Timestamp"].timestamp(),
    )


def _is_local_zone(record: dict[str, Any]) -> bool:
    """`use1-az1` and `us-east-1a` are zones of the region, `usw2-lax1-az1` and `us-west-2-lax-1a` are not."""
    zone_id = record.get("AvailabilityZoneId")
    return str(zone_id).count("-") > 1 if zone_id else str(record.get("AvailabilityZone", "")).count("-") > 2


def _read_quotas(paginator: Any, region: str, *, is_default: bool) -> dict[str, Quota]:
    found: dict[str, Quota] = {}
    for page in paginator.paginate(ServiceCode=_SERVICE_CODE):
        for record in page["Quotas"]:
            subject = aws_quota_subject(record["QuotaName"])
            if subject is None:
                continue
            use_spot, families = subject
            found[record["QuotaCode"]] = Quota(
                cloud="aws",
                region=region,
                code=record["QuotaCode"],
                name=record["QuotaName"],
                use_spot=use_spot,
                covers=families,
                unit=VCPUS,
                limit=float(record["Value"]) if "Value" in record else None,
                is_default=is_default,
                reason=None if "Value" in record else "AWS names no value",
            )
    return found
