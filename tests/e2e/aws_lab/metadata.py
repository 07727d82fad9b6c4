"""An instance's metadata service (IMDSv2): the role's credentials, where it is, whether spot takes it back.

Its address has the instance's id in the path, as all instances share this machine's loopback interface; AWS's own
programs take it from AWS_EC2_METADATA_SERVICE_ENDPOINT.
"""

import json
from pathlib import Path

from .layout import ROLE_KEY_ID, ROLE_NAME

PREFIX = "/imds/"
FACTS_FILE = "facts.json"
"""In an instance's folder: instance_id, instance_type, region, zone."""
SPOT_ACTION_FILE = "spot-instance-action.json"
"""In an instance's folder, when spot takes it back: action and time, as AWS says them."""


def answer(machines: Path, path: str) -> tuple[str, bytes | None]:
    """The id of the instance that is asked for, and the text; None where AWS says 404."""
    instance_id, _, below = path.removeprefix(PREFIX).partition("/")
    folder = machines / instance_id
    if not instance_id or not (folder / FACTS_FILE).exists():
        return instance_id, None
    return instance_id, _text(folder, "/" + below.strip("/"))


def _text(folder: Path, path: str) -> bytes | None:
    if path == "/latest/meta-data/spot/instance-action":
        action = folder / SPOT_ACTION_FILE
        return action.read_bytes() if action.exists() else None
    facts = json.loads((folder / FACTS_FILE).read_text())
    role = "/latest/meta-data/iam/security-credentials"
    texts = {
        "/latest/api/token": "token",
        "/latest/meta-data/instance-id": facts["instance_id"],
        "/latest/meta-data/instance-type": facts["instance_type"],
        "/latest/meta-data/placement/region": facts["region"],
        "/latest/meta-data/placement/availability-zone": facts["zone"],
        "/latest/dynamic/instance-identity/document": json.dumps(
            {
                "instanceId": facts["instance_id"],
                "instanceType": facts["instance_type"],
                "region": facts["region"],
                "availabilityZone": facts["zone"],
            }
        ),
        role: ROLE_NAME,
        f"{role}/{ROLE_NAME}": json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": ROLE_KEY_ID,
                "SecretAccessKey": "lab",
                "Token": "lab",
                "LastUpdated": "2026-01-01T00:00:00Z",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        ),
    }
    text = texts.get(path)
    return None if text is None else text.encode()
