"""Emulated buckets for tests: S3 by moto, Google Cloud Storage by gcp-storage-emulator, each behind a fault proxy."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.stores.opening import open_store
from tasks.stores.retry import Patience
from tasks.stores.store import Store
from tests.support.fault_proxy import FaultProxy, fault_proxy

BUCKET = "runs"
QUICK = Patience(first_pause_s=0.01, longest_pause_s=0.05, total_s=10.0)
"""For faults that pass after a few tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """One emulated bucket."""

    kind: str
    """s3 or gs."""
    proxy: FaultProxy
    environment: dict[str, str]
    """In which clients find the bucket through the proxy."""
    port: int
    """Of the emulator itself."""

    def ensure(self) -> None:
        """Make the bucket again where another test took it away: moto keeps one state for the whole process."""
        if self.kind == "s3":
            _send("PUT", self.port, f"/{BUCKET}")

    @property
    def uri(self) -> str:
        """Of a folder in the bucket."""
        return f"{self.kind}://{BUCKET}/prefix/run-1"

    def store(self, *, part_bytes: int = 5 * 1024 * 1024, patience: Patience = QUICK) -> Store:
        """A store on that folder; the environment is that of this process."""
        return open_store(self.uri, patience=patience, part_bytes=part_bytes)


@contextmanager
def s3_buckets() -> Iterator[Buckets]:
    """Moto's S3 with one bucket."""
    from moto.server import ThreadedMotoServer  # Deferred: a second.

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        # Moto keeps one state for the whole process.
        _send("POST", port, "/moto-api/reset")
        _send("PUT", port, f"/{BUCKET}")
        with fault_proxy(port) as proxy:
            environment = {
                "AWS_ENDPOINT_URL_S3": proxy.url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            yield Buckets(kind="s3", proxy=proxy, environment=environment, port=port)
    finally:
        server.stop()


@contextmanager
def gs_buckets() -> Iterator[Buckets]:
    """The emulator of Google Cloud Storage with one bucket."""
    # Deferred: not needed by most tests.
    from gcp_storage_emulator.server import create_server  # type: ignore[import-untyped]

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        port = int(server._api._httpd.server_address[1])
        with fault_proxy(port) as proxy:
            environment = {"STORAGE_EMULATOR_HOST": proxy.url, "GOOGLE_CLOUD_PROJECT": "test"}
            yield Buckets(kind="gs", proxy=proxy, environment=environment, port=port)
    finally:
        server.stop()


@contextmanager
def environment_of(buckets: Buckets) -> Iterator[None]:
    """The bucket's environment in this process."""
    before = {name: os.environ.get(name) for name in buckets.environment}
    os.environ.update(buckets.environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _send(method: str, port: int, path: str) -> None:
    headers = {"Content-Type": "application/json", "Host": "127.0.0.1"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def faults_of(proxy: FaultProxy) -> str:
    """What went wrong so far, for messages."""
    return json.dumps([[seen.method, seen.path, seen.fault] for seen in proxy.seen if seen.fault is not None])
