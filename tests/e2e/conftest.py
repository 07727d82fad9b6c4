"""Connections of the end-to-end tests are watched; the emulated AWS comes up once for all tests that ask for it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.aws_lab import AwsLab
from tests.e2e.slurm_lab import SlurmLab
from tests.support import connections
from tests.support.cli import Cli, write_tiny_model


@pytest.fixture(scope="session", autouse=True)
def _watched_connections() -> Iterator[None]:
    """Programs that are not Python are seen in the kernel's table of connections."""
    with connections.watch():
        yield


@pytest.fixture(scope="session")
def aws() -> Iterator[AwsLab]:
    if importlib.util.find_spec("sky") is None:
        pytest.skip("needs the [sky] extra")
    if importlib.util.find_spec("flask") is None:
        pytest.skip("needs moto's server: moto[ec2,iam,s3,server,sts]")
    with AwsLab() as running:
        yield running


@pytest.fixture(scope="module")
def lab() -> Iterator[SlurmLab]:
    if importlib.util.find_spec("sky") is None:
        pytest.skip("needs the [sky] extra")
    with SlurmLab() as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first plan measured of the small model, and took from the catalogs: the later ones need not."""
    return tmp_path_factory.mktemp("measured") / "cache"


@pytest.fixture
def aws_cli(tmp_path: Path, aws: AwsLab, measured: Path) -> Iterator[Cli]:
    """The command line against the emulated AWS; afterwards no machine is left, whatever the test did."""
    commands = Cli(folder=tmp_path, environment=aws.environment())
    cache = tmp_path / "home" / "cache"
    if measured.exists():
        shutil.copytree(measured, cache)
        cache.parent.chmod(0o700)
    yield commands
    commands.end()
    if cache.exists() and not measured.exists():
        shutil.copytree(cache, measured)
    aws.heal()
    left = aws.instances()
    for instance in left:
        aws.terminate(instance.instance_id)
    assert left == []
