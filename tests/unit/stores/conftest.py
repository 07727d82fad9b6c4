"""Emulated buckets, one of each kind for the whole folder, and content to move."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.stores.store import Store
from tests.support.bucket_stage import Buckets, environment_of, gs_buckets, s3_buckets

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Buckets]:
    with s3_buckets() as buckets:
        yield buckets


@pytest.fixture(scope="session")
def gs_server() -> Iterator[Buckets]:
    with gs_buckets() as buckets:
        yield buckets


@pytest.fixture(params=["s3", "gs"])
def buckets(request: pytest.FixtureRequest) -> Iterator[Buckets]:
    """An empty folder of a bucket behind the proxy, which spoils nothing yet."""
    found: Buckets = request.getfixturevalue(f"{request.param}_server")
    with environment_of(found):
        found.proxy.heal()
        found.ensure()
        store = found.store()
        store.abandon_uploads()
        store.delete([entry.key for entry in store.list()])
        found.proxy.seen.clear()
        yield found
        found.proxy.heal()


@pytest.fixture
def store(buckets: Buckets) -> Store:
    return buckets.store()


@pytest.fixture(scope="session")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 MB, and a little that fills no part."""
    path = tmp_path_factory.mktemp("content") / "model.safetensors"
    path.write_bytes(random.Random(3).randbytes(50 * MIB + 1234))
    return path
