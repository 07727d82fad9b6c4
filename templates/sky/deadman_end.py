"""Takes the machine it runs on away, as `python deadman_end.py aws|gcp|kubernetes|skypilot`; exit status 0: asked for.

For any Python 3.7 that a machine may have; standard library only, but for the clouds' own clients. It uses the rights
that the machine itself was given, and no credentials of the user that may lie there.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

TIMEOUT_S = 20
IMDS = "http://169.254.169.254"
GOOGLE_METADATA = "metadata.google.internal"
ACCOUNT = Path(os.environ.get("TUNEFARE_SERVICE_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount"))


def ask(
    url: str, method: str = "GET", headers: dict[str, str] | None = None, context: ssl.SSLContext | None = None
) -> str:
    """The body of an answer, as text."""
    request = urllib.request.Request(url, method=method, headers=headers or {})
    # The metadata of a machine is on the machine: no proxy knows it.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context or ssl.create_default_context())
    )
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        body: bytes = answer.read()
    return body.decode()


def aws() -> None:
    """TerminateInstances for this instance alone; the other nodes have a timer of their own."""
    forget_user_credentials()
    import boto3
    from botocore.config import Config

    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", IMDS).rstrip("/")
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "120"}
    token = ask(base + "/latest/api/token", "PUT", lifetime)
    headers = {"X-aws-ec2-metadata-token": token}
    instance = ask(base + "/latest/meta-data/instance-id", headers=headers)
    region = ask(base + "/latest/meta-data/placement/region", headers=headers)
    patience = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"max_attempts": 4})
    boto3.client("ec2", region_name=region, config=patience).terminate_instances(InstanceIds=[instance])


def forget_user_credentials() -> None:
    """Leave only the role of the machine: what a user's file says may be expired, or of another account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        os.environ.pop(name, None)
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.environ["AWS_CONFIG_FILE"] = os.devnull


def gcp() -> None:
    """Delete this virtual machine, or the TPU node that it is a part of."""
    base = "http://" + os.environ.get("GCE_METADATA_HOST", GOOGLE_METADATA) + "/computeMetadata/v1"
    flavor = {"Metadata-Flavor": "Google"}
    token = json.loads(ask(base + "/instance/service-accounts/default/token", headers=flavor))["access_token"]
    project = ask(base + "/project/project-id", headers=flavor)
    zone = ask(base + "/instance/zone", headers=flavor).rpartition("/")[2]
    node = tpu_node(base, flavor)
    if node is None:
        name = ask(base + "/instance/name", headers=flavor)
        api = os.environ.get("TUNEFARE_GCP_COMPUTE_URL", "https://compute.googleapis.com")
        url = f"{api}/compute/v1/projects/{project}/zones/{zone}/instances/{name}"
    else:
        api = os.environ.get("TUNEFARE_GCP_TPU_URL", "https://tpu.googleapis.com")
        url = f"{api}/v2/projects/{project}/locations/{zone}/nodes/{node}"
    ask(url, "DELETE", {"Authorization": "Bearer " + token})


def tpu_node(base: str, flavor: dict[str, str]) -> str | None:
    """Name of the TPU node, as its machines are told; None on a machine without one."""
    try:
        told = ask(base + "/instance/attributes/tpu-env", headers=flavor)
    except OSError:
        return None
    for line in told.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "NODE_ID":
            return value.strip().strip("'\"")
    return None


def kubernetes() -> None:
    """Delete this pod, with the service account that SkyPilot gives its pods."""
    host = "https://" + os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
    host = os.environ.get("TUNEFARE_KUBERNETES_URL", host)
    token = (ACCOUNT / "token").read_text().strip()
    namespace = (ACCOUNT / "namespace").read_text().strip()
    url = f"{host}/api/v1/namespaces/{namespace}/pods/{os.environ['HOSTNAME']}"
    authority = ACCOUNT / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None
    ask(url, "DELETE", {"Authorization": "Bearer " + token}, context)


def skypilot() -> None:
    """What SkyPilot's agent does at autostop with down, without the agent."""
    from sky import provision
    from sky.utils import cluster_utils, yaml_utils

    forget_user_credentials()
    config = yaml_utils.read_yaml(str(Path(cluster_utils.SKY_CLUSTER_YAML_REMOTE_PATH).expanduser()))
    name = cluster_utils.get_provider_name(config)
    provision.terminate_instances(name, config["cluster_name"], config["provider"])


WAYS = {way.__name__: way for way in (aws, gcp, kubernetes, skypilot)}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
