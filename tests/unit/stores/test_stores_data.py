"""Data sets in buckets: brought once, verified, changed ones again; the first samples of large ones alone."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tasks import bucket_head
from tasks.bucket_head import head_of, looked_at
from tasks.failures import TaskError
from tasks.job import DataChoice
from tasks.measuring import Asked, measured
from tasks.protocol import FailureCode
from tasks.sources import local_data
from tests.support.bucket_stage import Buckets
from tests.support.fault_proxy import Fault

KIB = 1024
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEFARE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(buckets: Buckets, objects: dict[str, bytes]) -> None:
    store = buckets.store()
    for key, content in objects.items():
        store.put_bytes(key, content)
    buckets.proxy.seen.clear()


def downloads(buckets: Buckets) -> int:
    return sum(seen.method == "GET" and seen.range is not None for seen in buckets.proxy.seen)


def test_one_object(buckets: Buckets) -> None:
    put(buckets, {"sets/all.csv": b"text,label\n", "sets/all.csv.bak": b"old"})
    file = local_data(f"{buckets.uri}/sets/all.csv", None)
    assert file.name == "all.csv"
    assert file.read_bytes() == b"text,label\n"
    assert downloads(buckets) == 1


def test_a_prefix_is_a_folder_and_is_downloaded_once(buckets: Buckets) -> None:
    put(buckets, {"set/train.csv": b"1", "set/deep/x.csv": b"2", "settings/y.csv": b"3"})
    folder = local_data(f"{buckets.uri}/set", None)
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("[!.]*.csv")}
    assert found == {"train.csv": b"1", "deep/x.csv": b"2"}
    assert local_data(f"{buckets.uri}/set/", None).name != "train.csv"
    buckets.proxy.seen.clear()
    assert local_data(f"{buckets.uri}/set", None) == folder
    assert downloads(buckets) == 0


def test_changes_in_the_bucket_arrive(buckets: Buckets) -> None:
    put(buckets, {"set/train.csv": b"old", "set/gone.csv": b"x"})
    folder = local_data(f"{buckets.uri}/set", None)
    store = buckets.store()
    store.put_bytes("set/train.csv", b"new")
    store.delete(["set/gone.csv"])
    local_data(f"{buckets.uri}/set", None)
    assert (folder / "train.csv").read_bytes() == b"new"
    assert not (folder / "gone.csv").exists()


def test_what_never_comes_right_leaves_no_file(buckets: Buckets, cache: Path) -> None:
    put(buckets, {"set/train.csv": b"whole" * 1000})
    buckets.proxy.fail(Fault.WRONG_ANSWER, lambda seen: seen.method == "GET" and seen.range is not None, times=10_000)
    with pytest.raises(TaskError, match="came damaged") as caught:
        local_data(f"{buckets.uri}/set/train.csv", None)
    assert caught.value.code is FailureCode.DATA_INVALID
    assert not list(cache.rglob("train.csv"))


@pytest.mark.parametrize("name", ["missing.csv", "set/train.cs"])
def test_a_missing_object(name: str, buckets: Buckets) -> None:
    put(buckets, {"set/train.csv": b"1"})
    with pytest.raises(TaskError) as caught:
        local_data(f"{buckets.uri}/{name}", None)
    assert caught.value.code is FailureCode.DATA_NOT_FOUND
    assert f"{buckets.uri}/{name}" in caught.value.message
    assert caught.value.hint is not None


def test_a_missing_bucket(buckets: Buckets) -> None:
    with pytest.raises(TaskError) as caught:
        local_data(f"{buckets.kind}://no-such-bucket/x.csv", None)
    assert caught.value.code is FailureCode.DATA_NOT_FOUND


def test_a_bucket_that_refuses_is_told_with_what_to_do(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    if buckets.kind == "gs":
        pytest.skip("the emulator lets anybody read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(TaskError, match="no AWS credentials") as caught:
        local_data(f"{buckets.uri}/x.csv", None)
    assert caught.value.hint is not None
    assert "aws configure" in caught.value.hint


def test_keys_cannot_leave_the_cache(buckets: Buckets, tmp_path: Path) -> None:
    if buckets.kind == "gs":
        pytest.skip("the client makes the path plain before it is sent")
    import boto3

    boto3.client("s3").put_object(Bucket="runs", Key="prefix/run-1/set/../../evil.csv", Body=b"1")
    with pytest.raises(TaskError, match="outside its folder"):
        local_data(f"{buckets.uri}/set", None)
    assert not list(tmp_path.rglob("evil.csv"))


@pytest.fixture
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_head, "WHOLE_BYTES", 100 * KIB)
    monkeypatch.setattr(bucket_head, "HEAD_BYTES", 80 * KIB)
    monkeypatch.setattr(bucket_head, "_LEAST_FILE_BYTES", 16 * KIB)


def csv_rows(count: int, seed: int) -> bytes:
    chooser = random.Random(seed)
    rows = [f'"some ""words"" of {chooser.randrange(10**6)},\nin two lines",{at % 2}' for at in range(count)]
    return ("text,label\n" + "\n".join(rows) + "\n").encode()


@pytest.mark.usefixtures("small_heads")
def test_a_large_table_is_measured_by_its_first_samples(buckets: Buckets) -> None:
    objects = {"set/train.csv": csv_rows(20_000, 1), "set/test.csv": csv_rows(2000, 2), "set/README.md": b"# words"}
    put(buckets, objects)
    choice = DataChoice(source=f"{buckets.uri}/set", test="test")
    asked = Asked(task="text-classification", folder=None, data=choice, max_length=64, batch_size=8, seed=0)
    figures = measured(asked, lambda code, text: None)
    assert figures["train_samples"] == pytest.approx(18_000, rel=0.02)
    assert figures["validation_samples"] == pytest.approx(2000, rel=0.02)
    assert figures["test_samples"] == pytest.approx(2000, rel=0.02)
    assert sum(figures["label_counts"].values()) == pytest.approx(18_000, rel=0.02)
    whole = sum(map(len, objects.values()))
    assert figures["bytes"] == whole
    assert (figures["sha256"], figures["measured"]) == (None, False)
    assert "scaled from them" in figures["basis"]
    moved = sum(seen.sent_bytes for seen in buckets.proxy.seen)
    assert moved < 0.3 * whole
    buckets.proxy.seen.clear()
    assert looked_at(choice)[1] is not None
    assert downloads(buckets) == 0


@pytest.mark.usefixtures("small_heads")
def test_parquet_is_read_by_its_index(buckets: Buckets, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    chooser = random.Random(7)
    texts = [f"{chooser.getrandbits(256):x}" for _ in range(8000)]
    table = pyarrow.table({"text": texts, "label": [at % 3 for at in range(8000)]})
    parquet.write_table(table, tmp_path / "data.parquet", row_group_size=500)
    put(buckets, {"set/data.parquet": (tmp_path / "data.parquet").read_bytes()})
    head = head_of(f"{buckets.uri}/set/data.parquet")
    assert head is not None
    first = parquet.read_table(head.folder / "data.parquet")
    assert first.column("text").to_pylist() == texts[: first.num_rows]
    # The number of rows is in the index: exact.
    assert head.factor({"data"}) == pytest.approx(8000 / first.num_rows)
    assert 0 < first.num_rows < 2500
    moved = sum(seen.sent_bytes for seen in buckets.proxy.seen)
    assert moved < 0.7 * (tmp_path / "data.parquet").stat().st_size


@pytest.mark.usefixtures("small_heads")
@pytest.mark.parametrize("name", ["images/a/1.png", "set.json", "set.npz"])
def test_other_formats_are_read_whole(name: str, buckets: Buckets) -> None:
    put(buckets, {f"set/{name}": b"0" * 150 * KIB})
    assert head_of(f"{buckets.uri}/set") is None


@pytest.mark.usefixtures("small_heads")
def test_a_table_of_one_endless_line_is_refused(buckets: Buckets) -> None:
    put(buckets, {"set/train.jsonl": json.dumps({"text": "x" * 200 * KIB}).encode()})
    with pytest.raises(TaskError, match="no whole row"):
        head_of(f"{buckets.uri}/set")


def test_a_small_data_set_is_brought_whole(buckets: Buckets) -> None:
    put(buckets, {"set/train.csv": csv_rows(10, 3)})
    assert head_of(f"{buckets.uri}/set") is None
