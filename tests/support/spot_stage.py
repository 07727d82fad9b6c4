"""What the tests of spot runs on the emulated AWS share: the bucket, the unbroken run, the guard of the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.protocol import CHECKPOINTS_DIR
from tasks.stores.folders import complete_folders
from tasks.stores.opening import open_store
from tasks.stores.store import Store
from tests.e2e.aws_lab import AwsLab
from tests.e2e.aws_lab.hooks.network_probe import ADDRESSES_NAME, PROBED_MODULE
from tests.support.cli import Cli, write_news, write_run_file
from tests.support.connections import audited, python_path

BUCKET = "spot-runs"


def refuse_unredirected(aws: AwsLab) -> None:
    """Fail where SkyPilot, in a process with the environment that its API server gets, would ask public addresses.

    A controller of managed jobs would; so nothing of them is started before this has been seen from the inside.
    """
    asked = subprocess.run(
        [sys.executable, "-P", "-c", f"import {PROBED_MODULE} as m; print(*m.{ADDRESSES_NAME})"],
        env={**aws.environment(), **audited(), "PYTHONPATH": python_path()},
        cwd=aws.client_home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    addresses = asked.stdout.split()
    if not addresses or not all(address.startswith("http://127.0.0.1:") for address in addresses):
        pytest.fail(f"SkyPilot's network probe is not redirected: {addresses} {asked.stderr[-2000:]}")


def refuse_unhooked_server(aws: AwsLab) -> None:
    """Fail where an API server runs that was started without the hook."""
    for pid in aws.api_servers():
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        names = {variable.partition(b"=")[0].decode() for variable in variables}
        if not {"TUNEFARE_TESTS_HOOK", "TUNEFARE_TESTS_NETWORK_PROBE"} <= names:
            pytest.fail(f"SkyPilot's API server {pid} runs without the redirected network probe")


def write_bucket(aws: AwsLab, folder: Path) -> str:
    """Make the bucket and name it in the run file; its URI."""
    import boto3  # an extra

    with _credentials(aws):
        existing = {bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]}
        if BUCKET not in existing:
            boto3.client("s3").create_bucket(Bucket=BUCKET)
    file = folder / "tunefare.yaml"
    file.write_text(f"{file.read_text()}\nstorage:\n  bucket: s3://{BUCKET}\n")
    return f"s3://{BUCKET}"


def open_bucket(aws: AwsLab, uri: str) -> Store:
    """The run's folder in the bucket, read past nobody: through the proxy, as everybody."""
    with _credentials(aws):
        store = open_store(uri)
        store.list()
        return store


def checkpoints(store: Store) -> tuple[str, ...]:
    """Names of those that are whole."""
    return tuple(complete_folders(store, CHECKPOINTS_DIR))


def final_scores(folder: Path, model: Path, *, training: dict[str, Any]) -> dict[str, Any]:
    """Scores of the same job on this machine, without a break."""
    import json

    place = folder / "unbroken"
    place.mkdir()
    write_run_file(place, model=model, data=write_news(place), training=training)
    done = Cli(folder=place).run("run", "--on", "local", "--yes", "--max-usd", "1", "--json", timeout_s=600)
    assert done.code == 0, done.stderr
    scores: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["report"]["scores"]
    return scores


class _credentials:
    """The lab's AWS in this process, for as long as it takes to make a client."""

    def __init__(self, aws: AwsLab) -> None:
        self._patch = pytest.MonkeyPatch()
        self._values = {name: value for name, value in aws.environment().items() if name.startswith("AWS_")}

    def __enter__(self) -> None:
        for name, value in self._values.items():
            self._patch.setenv(name, value)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
