"""Buckets, hub and paths, with stubbed clients: what is downloaded, what is cached, how a miss is told."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.failures import TaskError
from tasks.sources import local_data, local_model


class FakeS3:
    """The two calls of the S3 client that are used."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.downloads: list[str] = []

    def get_paginator(self, name: str) -> FakeS3:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        if Bucket != "bucket":
            raise RuntimeError("NoSuchBucket")
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        for key in keys:
            yield {"Contents": [{"Key": key, "ETag": f'"{hash(self.objects[key])}"'}]}
        if not keys:
            yield {}

    def download_file(self, bucket: str, key: str, file: str) -> None:
        self.downloads.append(key)
        Path(file).write_bytes(self.objects[key])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEFARE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def use_s3(monkeypatch: pytest.MonkeyPatch, objects: dict[str, bytes]) -> FakeS3:
    client = FakeS3(objects)
    module = types.ModuleType("boto3")
    module.client = lambda name: client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boto3", module)
    return client


def test_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    client = use_s3(monkeypatch, {"sets/all.csv": b"text,label\n", "sets/all.csv.bak": b"old"})
    file = local_data("s3://bucket/sets/all.csv", None)
    assert file.name == "all.csv"
    assert file.read_bytes() == b"text,label\n"
    assert client.downloads == ["sets/all.csv"]


def test_a_prefix_is_a_folder_and_is_downloaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = use_s3(monkeypatch, {"set/train.csv": b"1", "set/deep/x.csv": b"2", "set/": b"", "settings/y.csv": b"3"})
    folder = local_data("s3://bucket/set", None)
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("[!.]*.csv")} == {"train.csv", "deep/x.csv"}
    assert local_data("s3://bucket/set", None) == folder
    assert sorted(client.downloads) == ["set/deep/x.csv", "set/train.csv"]


def test_changes_in_the_bucket_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    client = use_s3(monkeypatch, {"set/train.csv": b"old", "set/gone.csv": b"x"})
    folder = local_data("s3://bucket/set", None)
    client.objects = {"set/train.csv": b"new"}
    local_data("s3://bucket/set", None)
    assert (folder / "train.csv").read_bytes() == b"new"
    assert not (folder / "gone.csv").exists()


def test_a_download_that_breaks_off_leaves_no_file(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    client = use_s3(monkeypatch, {"set/train.csv": b"whole"})

    def broken(bucket: str, key: str, file: str) -> None:
        Path(file).write_bytes(b"wh")
        raise RuntimeError("connection reset")

    monkeypatch.setattr(client, "download_file", broken)
    with pytest.raises(TaskError, match="connection reset"):
        local_data("s3://bucket/set/train.csv", None)
    assert not list(cache.rglob("train.csv"))


@pytest.mark.parametrize("uri", ["s3://other/x.csv", "s3://bucket/missing.csv"])
def test_a_missing_object(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch, {"set/train.csv": b"1"})
    with pytest.raises(TaskError) as caught:
        local_data(uri, None)
    assert caught.value.code == "data_not_found"
    assert uri in caught.value.message


def test_keys_cannot_leave_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_s3(monkeypatch, {"set/../../evil.csv": b"1"})
    with pytest.raises(TaskError, match="outside its folder"):
        local_data("s3://bucket/set", None)
    assert not list(tmp_path.rglob("evil.csv"))


# grpcio-status, which the client would like to have, is not needed for storage.
@pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")
def test_google_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blob:
        name, etag = "set/train.csv", "v1"

        def download_to_filename(self, file: str) -> None:
            Path(file).write_bytes(b"blob")

    class Client:
        def list_blobs(self, bucket: str, prefix: str) -> list[Blob]:
            assert (bucket, prefix) == ("bucket", "set")
            return [Blob()]

    from google.cloud import storage

    monkeypatch.setattr(storage, "Client", Client)
    assert (local_data("gs://bucket/set", None) / "train.csv").read_bytes() == b"blob"


def test_the_hub_gives_data_files_of_the_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert local_data("owner/reviews", "v2") == tmp_path
    assert (asked["source"], asked["revision"], asked["repo_type"]) == ("owner/reviews", "v2", "dataset")
    assert "*.parquet" in asked["allow_patterns"]
    assert not any(pattern.endswith("py") for pattern in asked["allow_patterns"])


def test_pickled_weights_of_a_hub_model_are_not_asked_for(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(source: str, **options: Any) -> str:
        asked.update(options)
        return str(tiny_model)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert local_model("owner/model", None) == tiny_model
    assert asked["allow_patterns"] == ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def test_a_hub_miss_fails_at_once_without_network() -> None:
    with pytest.raises(TaskError) as caught:
        local_data("owner/no-such-set", None)
    assert caught.value.code == "data_not_found"
    assert "hub cannot be reached" in caught.value.message


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n")
    with pytest.raises(TaskError) as caught:
        local_data(str(tmp_path / "trian.csv"), None)
    assert caught.value.hint is not None
    assert "Did you mean 'train.csv'?" in caught.value.hint
