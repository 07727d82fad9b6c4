"""The proxy's log of API calls, as the tests read it."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """One call that reached the proxy."""

    at_s: float
    """Unix time of its arrival."""
    service: str
    """ec2, iam, sts, s3, ..., or `imds` for an instance's metadata service."""
    region: str
    action: str
    """RunInstances, ...; for S3 and the metadata service method and path."""
    status: int
    """HTTP status of the answer."""
    fault: str | None
    """Code of the injected error."""
    key_id: str
    """Access key that signed it; for the metadata service the instance's id."""
    instance_type: str | None = None
    zone: str | None = None
    spot: bool = False
    instance_ids: tuple[str, ...] = ()


def read_calls(file: Path) -> list[ApiCall]:
    """All calls so far, oldest first."""
    if not file.exists():
        return []
    # The last line may be in the making.
    lines = file.read_text().rpartition("\n")[0].splitlines()
    values = [json.loads(line) for line in lines]
    return [ApiCall(**{**value, "instance_ids": tuple(value["instance_ids"])}) for value in values]
