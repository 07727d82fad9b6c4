"""Objects that somebody else stored: verified by the provider's own checksum."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from tasks.stores.errors import CorruptError, GaveUpError
from tasks.stores.provider_sums import ProviderSum, SumKind, etag_parts, is_content_of
from tasks.stores.retry import Patience
from tasks.stores.store import digest_of
from tests.support.bucket_stage import BUCKET, Buckets
from tests.support.fault_proxy import Fault, Seen

MIB = 1024 * 1024
CONTENT = random.Random(5).randbytes(12 * MIB + 77)
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def put_by_the_plain_client(buckets: Buckets, key: str, *, in_parts: bool) -> None:
    """As any other program stores it: without our checksum."""
    if buckets.kind == "gs":
        from google.cloud import storage

        storage.Client().bucket(BUCKET).blob(f"prefix/run-1/{key}").upload_from_string(CONTENT)
        return
    import boto3
    from boto3.s3.transfer import TransferConfig

    threshold = 5 * MIB if in_parts else 100 * MIB
    config = TransferConfig(multipart_threshold=threshold, multipart_chunksize=5 * MIB)
    client: Any = boto3.client("s3")
    source = Path(buckets.environment["CONTENT"])
    client.upload_file(str(source), BUCKET, f"prefix/run-1/{key}", Config=config)


@pytest.fixture
def foreign(buckets: Buckets, tmp_path: Path) -> Buckets:
    (tmp_path / "content").write_bytes(CONTENT)
    buckets.environment["CONTENT"] = str(tmp_path / "content")
    return buckets


@pytest.mark.parametrize("in_parts", [False, True])
def test_it_comes_and_is_verified(in_parts: bool, foreign: Buckets, tmp_path: Path) -> None:
    put_by_the_plain_client(foreign, "theirs", in_parts=in_parts)
    store = foreign.store()
    digest = store.get_file("theirs", tmp_path / "here", is_foreign=True)
    assert digest.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "here").read_bytes() == CONTENT


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_wrong_byte_on_the_way_is_noticed_by_the_providers_sum(
    in_parts: bool, foreign: Buckets, tmp_path: Path
) -> None:
    put_by_the_plain_client(foreign, "theirs", in_parts=in_parts)

    def is_download(seen: Seen) -> bool:
        return seen.method == "GET" and seen.range is not None

    foreign.proxy.fail(Fault.WRONG_ANSWER, is_download, times=1)
    store = foreign.store()
    store.get_file("theirs", tmp_path / "here", is_foreign=True)
    assert Fault.WRONG_ANSWER in [seen.fault for seen in foreign.proxy.seen]
    assert store.retries == 1
    assert (tmp_path / "here").read_bytes() == CONTENT
    foreign.proxy.fail(Fault.WRONG_ANSWER, is_download, times=10_000)
    hasty = foreign.store(patience=Patience(first_pause_s=0.01, total_s=0.5))
    with pytest.raises((CorruptError, GaveUpError)):
        hasty.get_file("theirs", tmp_path / "never", is_foreign=True)
    assert not (tmp_path / "never").exists()


def test_what_has_our_checksum_is_wanted_as_ever(foreign: Buckets, tmp_path: Path) -> None:
    put_by_the_plain_client(foreign, "theirs", in_parts=False)
    with pytest.raises(CorruptError, match="no checksum"):
        foreign.store().get_file("theirs", tmp_path / "here")


@pytest.mark.parametrize(
    ("etag", "parts"),
    [('"d41d8cd98f00b204e9800998ecf8427e"', 0), ("d41d8cd98f00b204e9800998ecf8427e-3", 3), ('"no-sum"', None)],
)
def test_etags(etag: str, parts: int | None) -> None:
    assert etag_parts(etag) == parts


def test_sums_of_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    assert is_content_of(tmp_path / "empty", ProviderSum(kind=SumKind.MD5, value=md5))
    assert is_content_of(tmp_path / "empty", ProviderSum(kind=SumKind.CRC32C, value="AAAAAA=="))
    assert digest_of(tmp_path / "empty").size_bytes == 0
