"""What the dead-man timer asks a cloud for from the inside, on metadata and interfaces of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

METADATA = {
    "/latest/api/token": "imds-token",
    "/latest/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/placement/region": "us-east-1",
    "/latest/meta-data/iam/security-credentials/": "skypilot-v1",
    "/latest/meta-data/iam/security-credentials/skypilot-v1": json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": "ASIAROLE",
            "SecretAccessKey": "role",
            "Token": "role-token",
            "Expiration": "2099-01-01T00:00:00Z",
        }
    ),
    "/computeMetadata/v1/instance/service-accounts/default/token": json.dumps({"access_token": "google-token"}),
    "/computeMetadata/v1/project/project-id": "demo",
    "/computeMetadata/v1/instance/zone": "projects/1/zones/us-central1-a",
    "/computeMetadata/v1/instance/name": "vm-1",
}


@dataclass(kw_only=True)
class Cloud:
    """A server on loopback that writes requests down."""

    server: ThreadingHTTPServer
    metadata: dict[str, str] = field(default_factory=lambda: dict(METADATA))
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Method, path, Authorization, body."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def run(self, way: str, folder: Path, **environment: str) -> int:
        """Call the program as on a machine; its exit status."""
        script = folder / "deadman_end.py"
        script.write_text((files("templates") / "sky" / "deadman_end.py").read_text(encoding="utf-8"))
        own = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
        done = subprocess.run([sys.executable, str(script), way], env=own, timeout=60, check=False)
        return done.returncode


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            found.requests.append((self.command, self.path, self.headers.get("Authorization", ""), body))
            answer = found.metadata.get(self.path)
            if self.command in ("DELETE", "POST"):
                answer = "<TerminateInstancesResponse><instancesSet/></TerminateInstancesResponse>"
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write((answer or "").encode())

        do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Cloud(server=server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(find_spec("boto3") is None, reason="needs boto3")
def test_aws_is_asked_with_the_role_of_the_machine_whatever_a_user_left_there(cloud: Cloud, tmp_path: Path) -> None:
    status = cloud.run(
        "aws",
        tmp_path,
        AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.url,
        AWS_ENDPOINT_URL=cloud.url,
        AWS_ACCESS_KEY_ID="AKIAUSER",
        AWS_SECRET_ACCESS_KEY="expired",
    )
    assert status == 0
    ((_, _, authorization, body),) = [request for request in cloud.requests if request[0] == "POST"]
    assert "ASIAROLE" in authorization
    assert "/us-east-1/ec2/" in authorization
    assert "Action=TerminateInstances" in body
    assert "InstanceId.1=i-0123456789abcdef0" in body


@pytest.mark.parametrize(
    ("tpu_env", "path"),
    [
        (None, "/compute/v1/projects/demo/zones/us-central1-a/instances/vm-1"),
        (
            "ACCELERATOR_TYPE: 'v5litepod-8'\nNODE_ID: 'tf-demo'\n",
            "/v2/projects/demo/locations/us-central1-a/nodes/tf-demo",
        ),
    ],
)
def test_google_deletes_the_machine_or_the_tpu_node(
    cloud: Cloud, tmp_path: Path, tpu_env: str | None, path: str
) -> None:
    if tpu_env is not None:
        cloud.metadata["/computeMetadata/v1/instance/attributes/tpu-env"] = tpu_env
    status = cloud.run(
        "gcp",
        tmp_path,
        GCE_METADATA_HOST=cloud.url.removeprefix("http://"),
        TUNEFARE_GCP_COMPUTE_URL=cloud.url,
        TUNEFARE_GCP_TPU_URL=cloud.url,
    )
    assert status == 0
    assert cloud.requests[-1][:3] == ("DELETE", path, "Bearer google-token")


def test_a_pod_deletes_itself(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "namespace").write_text("team")
    status = cloud.run(
        "kubernetes",
        tmp_path,
        HOSTNAME="tf-demo-head",
        TUNEFARE_SERVICE_ACCOUNT_DIR=str(tmp_path),
        TUNEFARE_KUBERNETES_URL=cloud.url,
        KUBERNETES_SERVICE_HOST="127.0.0.1",
        KUBERNETES_SERVICE_PORT="1",
    )
    assert status == 0
    assert cloud.requests == [("DELETE", "/api/v1/namespaces/team/pods/tf-demo-head", "Bearer pod-token", "")]


@pytest.mark.parametrize("way", ["aws", "gcp", "kubernetes", "skypilot"])
def test_a_way_that_does_not_work_says_so_by_its_exit_status(cloud: Cloud, tmp_path: Path, way: str) -> None:
    cloud.metadata.clear()
    status = cloud.run(
        way, tmp_path, AWS_EC2_METADATA_SERVICE_ENDPOINT=cloud.url, GCE_METADATA_HOST=cloud.url.removeprefix("http://")
    )
    assert status != 0
