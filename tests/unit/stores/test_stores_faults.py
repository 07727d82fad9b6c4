"""Transfers through a proxy that spoils them: retried, verified, and never a wrong file under its final name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.stores.errors import CorruptError, GaveUpError, NotFoundError, StoreError
from tasks.stores.retry import Patience
from tasks.stores.store import Store, digest_of
from tests.support.bucket_stage import Buckets
from tests.support.fault_proxy import Fault, Seen

MIB = 1024 * 1024
# Google's client mentions packages that it would like to have and that storage does not need.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def is_content(seen: Seen) -> bool:
    """A request that brings content up."""
    return seen.method == "PUT" and seen.body_bytes > 1000


def is_download(seen: Seen) -> bool:
    return seen.method == "GET" and seen.range is not None


def here(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


UP = [Fault.CUT_REQUEST, Fault.LOST_ANSWER, Fault.WRONG_REQUEST, Fault.UNAVAILABLE, Fault.SLOW]
DOWN = [Fault.CUT_ANSWER, Fault.TRUNCATED, Fault.WRONG_ANSWER, Fault.UNAVAILABLE, Fault.SLOW]


@pytest.mark.parametrize("fault", UP)
def test_50_mb_go_up_whole_through(
    fault: Fault, buckets: Buckets, store: Store, big_file: Path, tmp_path: Path
) -> None:
    buckets.proxy.fail(fault, is_content, times=3 if fault is not Fault.WRONG_REQUEST else 1)
    digest = store.put_file(big_file, "up/model.safetensors")
    assert fault in [seen.fault for seen in buckets.proxy.seen]
    assert digest == digest_of(big_file)
    buckets.proxy.heal()
    store.get_file("up/model.safetensors", tmp_path / "back")
    assert digest_of(tmp_path / "back") == digest
    assert [(entry.key, entry.size_bytes) for entry in store.list()] == [("up/model.safetensors", digest.size_bytes)]
    assert here(big_file.parent) == [big_file.name]


@pytest.mark.parametrize("fault", DOWN)
def test_50_mb_come_down_whole_through(
    fault: Fault, buckets: Buckets, store: Store, big_file: Path, tmp_path: Path
) -> None:
    store.put_file(big_file, "model")
    buckets.proxy.fail(fault, is_download, times=3 if fault is not Fault.WRONG_ANSWER else 1)
    store.get_file("model", tmp_path / "model")
    assert fault in [seen.fault for seen in buckets.proxy.seen]
    assert digest_of(tmp_path / "model") == digest_of(big_file)
    assert here(tmp_path) == ["model"]


@pytest.mark.parametrize("fault", [Fault.WRONG_ANSWER, Fault.TRUNCATED, Fault.CUT_ANSWER, Fault.UNAVAILABLE])
def test_what_never_comes_right_never_stands_under_its_name(fault: Fault, buckets: Buckets, tmp_path: Path) -> None:
    store = buckets.store(patience=Patience(first_pause_s=0.01, total_s=0.4))
    store.put_bytes("model", b"weights" * 1000)
    (tmp_path / "model").write_bytes(b"older")
    buckets.proxy.fail(fault, lambda seen: seen.method == "GET", times=10_000)
    with pytest.raises((GaveUpError, CorruptError)):
        store.get_file("model", tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == b"older"


@pytest.mark.parametrize("fault", [Fault.WRONG_REQUEST, Fault.CUT_REQUEST])
def test_what_never_goes_up_right_is_no_object(fault: Fault, buckets: Buckets, tmp_path: Path) -> None:
    store = buckets.store(patience=Patience(first_pause_s=0.01, total_s=0.4))
    source = tmp_path / "model"
    source.write_bytes(b"weights" * MIB)
    buckets.proxy.fail(fault, is_content, times=10_000)
    with pytest.raises((GaveUpError, CorruptError)):
        store.put_file(source, "model")
    buckets.proxy.heal()
    assert store.list() == ()


def test_an_interrupted_upload_goes_on_in_another_process(
    buckets: Buckets, store: Store, big_file: Path, tmp_path: Path
) -> None:
    """What a killed process leaves is its note and what the store has; a new store knows nothing else."""
    source = tmp_path / "model"
    shutil.copyfile(big_file, source)
    hasty = buckets.store(patience=Patience(first_pause_s=0.01, total_s=0.0))
    sent: list[int] = []

    def is_late(seen: Seen) -> bool:
        return is_content(seen) and sum(sent[-1:]) > 25 * MIB

    buckets.proxy.fail(Fault.CUT_REQUEST, is_late, times=10_000)
    with pytest.raises(GaveUpError):
        hasty.put_file(source, "model", lambda done, _: sent.append(done))
    assert ".model.upload.json" in here(tmp_path)
    buckets.proxy.heal()
    buckets.proxy.seen.clear()
    store.put_file(source, "model")
    again = sum(seen.body_bytes for seen in buckets.proxy.seen if is_content(seen))
    assert again <= source.stat().st_size - 25 * MIB
    store.get_file("model", tmp_path / "back")
    assert digest_of(tmp_path / "back") == digest_of(source)
    assert here(tmp_path) == ["back", "model"]


def test_a_file_that_changed_is_not_gone_on_with(buckets: Buckets, store: Store, tmp_path: Path) -> None:
    # The last part of S3 and the last chunk of Google are smaller than the rest.
    source = tmp_path / "model"
    source.write_bytes(b"a" * 44 * MIB)
    hasty = buckets.store(patience=Patience(total_s=0.0))
    buckets.proxy.fail(Fault.CUT_REQUEST, lambda seen: is_content(seen) and seen.body_bytes < 5 * MIB, times=9)
    with pytest.raises(GaveUpError):
        hasty.put_file(source, "model")
    source.write_bytes(b"b" * 44 * MIB)
    buckets.proxy.heal()
    store.put_file(source, "model")
    store.get_file("model", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"b" * 44 * MIB


def test_an_interrupted_download_goes_on_in_another_process(
    buckets: Buckets, store: Store, big_file: Path, tmp_path: Path
) -> None:
    store.put_file(big_file, "model")
    hasty = buckets.store(patience=Patience(total_s=0.0))
    come: list[int] = []
    buckets.proxy.fail(Fault.CUT_ANSWER, lambda seen: is_download(seen) and sum(come[-1:]) > 25 * MIB, times=10_000)
    with pytest.raises(GaveUpError):
        hasty.get_file("model", tmp_path / "model", on_progress=lambda done, _: come.append(done))
    assert not (tmp_path / "model").exists()
    buckets.proxy.heal()
    buckets.proxy.seen.clear()
    store.get_file("model", tmp_path / "model")
    assert sum(seen.sent_bytes for seen in buckets.proxy.seen if is_download(seen)) <= 26 * MIB
    assert digest_of(tmp_path / "model") == digest_of(big_file)
    assert here(tmp_path) == ["model"]


def test_a_download_whose_first_part_was_spoilt_on_the_disk_begins_again(
    buckets: Buckets, store: Store, big_file: Path, tmp_path: Path
) -> None:
    store.put_file(big_file, "model")
    hasty = buckets.store(patience=Patience(total_s=0.0))
    come: list[int] = []
    buckets.proxy.fail(Fault.CUT_ANSWER, lambda seen: is_download(seen) and sum(come[-1:]) > 20 * MIB, times=10_000)
    with pytest.raises(GaveUpError):
        hasty.get_file("model", tmp_path / "model", on_progress=lambda done, _: come.append(done))
    with (tmp_path / ".model.partial").open("r+b") as file:
        file.write(b"torn")
    buckets.proxy.heal()
    store.get_file("model", tmp_path / "model")
    assert digest_of(tmp_path / "model") == digest_of(big_file)


def test_a_manifest_that_expects_other_content_is_believed(store: Store, tmp_path: Path) -> None:
    store.put_bytes("model", b"weights")
    with pytest.raises(CorruptError, match="another"):
        store.get_file("model", tmp_path / "model", sha256="0" * 64)
    assert here(tmp_path) == []


def test_what_is_not_there_is_not_asked_for_again(buckets: Buckets, store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        store.get_file("nothing", tmp_path / "nothing")
    with pytest.raises(NotFoundError):
        store.get_bytes("nothing")
    assert len([seen for seen in buckets.proxy.seen if "nothing" in seen.path]) == 2
    store.delete(["nothing"])


def test_patience_has_an_end(buckets: Buckets) -> None:
    store = buckets.store(patience=Patience(first_pause_s=0.01, total_s=0.3))
    buckets.proxy.fail(Fault.UNAVAILABLE, times=10_000)
    with pytest.raises(GaveUpError, match=r"failed \d+ times"):
        store.put_bytes("x", b"x")


def test_small_objects_and_listings(store: Store) -> None:
    for name in ("b", "a/2", "a/1"):
        store.put_bytes(name, name.encode())
    store.put_bytes("b", b"newer")
    assert [entry.key for entry in store.list()] == ["a/1", "a/2", "b"]
    assert [entry.key for entry in store.list("a/")] == ["a/1", "a/2"]
    assert store.get_bytes("b") == b"newer"
    store.delete(["a/1", "b"])
    assert [entry.key for entry in store.list()] == ["a/2"]
    with pytest.raises(StoreError):
        store.get_bytes("b")


def test_the_same_content_is_not_sent_twice(buckets: Buckets, store: Store, big_file: Path) -> None:
    store.put_file(big_file, "model")
    buckets.proxy.seen.clear()
    seen: list[tuple[int, int]] = []
    store.put_file(big_file, "model", lambda done, of: seen.append((done, of)))
    assert not [entry for entry in buckets.proxy.seen if is_content(entry)]
    assert seen == [(big_file.stat().st_size,) * 2]
