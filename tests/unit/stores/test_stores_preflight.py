"""What preflight says of data in a bucket."""

from __future__ import annotations

import pytest

from manager.service.preflight import CheckState
from manager.service.preflight_task import _in_bucket
from tests.support.bucket_stage import Buckets

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_objects_and_their_size(buckets: Buckets) -> None:
    for name in ("set/train.csv", "set/test.csv", "set-2/train.csv"):
        buckets.store().put_bytes(name, b"x" * 512 * 1024)
    found = _in_bucket(f"{buckets.uri}/set", "the first 1 MiB read")
    assert found.state is CheckState.OK
    assert found.text == f"2 objects under {buckets.uri}/set, 1.0 MiB; the first 1 MiB read"
    assert _in_bucket(f"{buckets.uri}/set/train.csv", "").text.startswith("1 objects")


def test_what_is_not_there_fails(buckets: Buckets) -> None:
    buckets.store().put_bytes("set-2/train.csv", b"x")
    assert _in_bucket(f"{buckets.uri}/set", "").state is CheckState.FAILED
    assert _in_bucket(f"{buckets.kind}://no-such-bucket-1/x", "").state is CheckState.FAILED
