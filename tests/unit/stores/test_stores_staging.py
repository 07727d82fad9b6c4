"""Local data on their way to machines: staged once by content, gone on with, verified where they are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from manager.errors import EngineError
from manager.launch.engine import LaunchRequest
from manager.launch.staging import LocalData, local_data, stage
from manager.runs.updates import LogUpdate, TransferUpdate, Update, update_to_json
from manager.service.staging import stage_request
from tasks import sources
from tasks.failures import TaskError
from tasks.job import DataChoice, Job, ModelChoice, StoreChoice
from tasks.protocol import FailureCode
from tasks.stores.backend import Digest
from tasks.stores.datasets import content_sha256, parse_staged
from tests.support.bucket_stage import Buckets
from tests.support.contexts import make_context
from tests.support.fault_proxy import Fault, Seen

MIB = 1024 * 1024
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


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a large file, a small one, and what nobody needs."""
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    (folder / "train.csv").write_bytes(b"text,label\n" + b"some words,1\n" * (18 * MIB // 13))
    (folder / "deep" / "test.csv").write_text("text,label\nb,2\n")
    (folder / ".hidden").write_text("x")
    return folder


def request_of(source: Path, bucket: str | None, run_id: str = "run-1") -> LaunchRequest:
    store = None if bucket is None else StoreChoice(uri=f"{bucket}/{run_id}")
    job = Job(run_id=run_id, model=ModelChoice(source="org/model"), data=DataChoice(source=str(source)), store=store)
    return LaunchRequest(run_id=run_id, job=job, offers=(), run_dir=source.parent / run_id)


def staged_by(request: LaunchRequest, folder: Path) -> tuple[str, list[Update]]:
    told: list[Update] = []
    return stage_request(make_context(folder), request, told.append).job.data.source, told


def uploads(buckets: Buckets) -> list[Seen]:
    """Requests that carry content."""
    return [seen for seen in buckets.proxy.seen if seen.method in ("PUT", "POST") and seen.body_bytes > 1000]


def known(source: Path, folder: Path) -> LocalData:
    found = local_data(request_of(source, None).job, state_dir=folder / "state")
    assert found is not None
    return found


def test_the_second_launch_finds_it_there_and_sends_nothing(buckets: Buckets, data: Path, tmp_path: Path) -> None:
    uri, told = staged_by(request_of(data, buckets.uri), tmp_path)
    where = parse_staged(uri)
    assert where is not None
    assert (where.bucket, where.file) == (buckets.uri, None)
    transfers = [update for update in told if isinstance(update, TransferUpdate)]
    size = sum(file.stat().st_size for file in (data / "train.csv", data / "deep" / "test.csv"))
    assert (transfers[-1].done_bytes, transfers[-1].of_bytes) == (size, size)
    assert update_to_json(transfers[-1])["type"] == "transfer"
    buckets.proxy.seen.clear()
    again, told = staged_by(request_of(data, buckets.uri, "run-2"), tmp_path / "of-somebody-else")
    assert again == uri
    assert uploads(buckets) == []
    (log,) = [update for update in told if isinstance(update, LogUpdate)]
    assert "nothing was sent" in log.text


def test_a_machine_reads_what_was_staged(buckets: Buckets, data: Path, tmp_path: Path, cache: Path) -> None:
    uri, _ = staged_by(request_of(data, buckets.uri), tmp_path)
    folder = sources.local_data(uri, None)
    assert (folder / "train.csv").read_bytes() == (data / "train.csv").read_bytes()
    assert (folder / "deep" / "test.csv").read_text() == "text,label\nb,2\n"
    assert not (folder / ".hidden").exists()
    file_uri, _ = staged_by(request_of(data / "deep" / "test.csv", buckets.uri), tmp_path)
    file = sources.local_data(file_uri, None)
    assert file.name == "data.csv"
    assert file.read_text() == "text,label\nb,2\n"


def test_an_interrupted_upload_goes_on(buckets: Buckets, data: Path, tmp_path: Path) -> None:
    found = known(data, tmp_path)

    class Interrupted(Exception):
        pass

    def interrupt(done_bytes: int, of_bytes: int) -> None:
        if done_bytes > of_bytes / 2:
            raise Interrupted

    # On a line of their own: the parts of the real size are larger than this file has.
    with pytest.raises(Interrupted):
        stage(found, buckets.uri, state_dir=tmp_path / "state", on_progress=interrupt)
    with pytest.raises(TaskError, match="not to its end"):
        sources.local_data(f"{buckets.uri}/data/{found.sha256}", None)
    buckets.proxy.seen.clear()
    staged = stage(found, buckets.uri, state_dir=tmp_path / "state")
    sent = sum(seen.body_bytes for seen in uploads(buckets))
    assert sent < found.size_bytes
    assert (sources.local_data(staged.uri, None) / "train.csv").stat().st_size == (data / "train.csv").stat().st_size


@pytest.mark.parametrize("fault", [Fault.CUT_REQUEST, Fault.LOST_ANSWER, Fault.WRONG_REQUEST, Fault.UNAVAILABLE])
def test_faults_on_the_way_up(fault: Fault, buckets: Buckets, data: Path, tmp_path: Path) -> None:
    buckets.proxy.fail(fault, lambda seen: seen.method == "PUT" and seen.body_bytes > 1000, times=1)
    uri, _ = staged_by(request_of(data, buckets.uri), tmp_path)
    assert fault in [seen.fault for seen in buckets.proxy.seen]
    buckets.proxy.heal()
    assert (sources.local_data(uri, None) / "train.csv").read_bytes() == (data / "train.csv").read_bytes()


def test_a_file_that_somebody_changed_in_the_bucket_is_never_trained_on(
    buckets: Buckets, data: Path, tmp_path: Path
) -> None:
    uri, _ = staged_by(request_of(data / "deep" / "test.csv", buckets.uri), tmp_path)
    where = parse_staged(uri)
    assert where is not None
    store = buckets.store()
    folder = where.folder.removeprefix(f"{buckets.uri}/")
    store.put_bytes(f"{folder}/data.csv", b"text,label\nb,3\n")
    with pytest.raises(TaskError, match="another") as caught:
        sources.local_data(uri, None)
    assert caught.value.code is FailureCode.DATA_INVALID
    digest = Digest(size_bytes=15, sha256="00" * 32)
    files = {"data.csv": {"size_bytes": digest.size_bytes, "sha256": digest.sha256}}
    store.put_bytes(f"{folder}/complete.json", json.dumps({"schema": 1, "files": files}).encode())
    with pytest.raises(TaskError, match="not the data set that it is named after"):
        sources.local_data(uri, None)


def test_what_a_lifecycle_rule_removed_is_sent_again(buckets: Buckets, data: Path, tmp_path: Path) -> None:
    uri, _ = staged_by(request_of(data, buckets.uri), tmp_path)
    store = buckets.store()
    (lost,) = [entry.key for entry in store.list() if entry.key.endswith("deep/test.csv")]
    store.delete([lost])
    buckets.proxy.seen.clear()
    assert staged_by(request_of(data, buckets.uri), tmp_path)[0] == uri
    assert sum(seen.body_bytes for seen in uploads(buckets)) < MIB
    assert (sources.local_data(uri, None) / "deep" / "test.csv").is_file()


def test_a_bucket_that_does_not_exist_is_an_error_before_anything_costs(
    buckets: Buckets, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="cannot be staged") as caught:
        staged_by(request_of(data, f"{buckets.kind}://no-such-bucket-here"), tmp_path)
    assert caught.value.hint is not None


def test_without_a_bucket_or_with_data_elsewhere_the_request_stays(data: Path, tmp_path: Path) -> None:
    for request in (request_of(data, None), request_of(Path("org/data"), "s3://bucket-x")):
        assert stage_request(make_context(tmp_path), request, lambda update: None) is request


def test_a_shared_folder_is_a_bucket_too(data: Path, tmp_path: Path) -> None:
    uri, _ = staged_by(request_of(data, f"file://{tmp_path}/shared"), tmp_path)
    assert (sources.local_data(uri, None) / "deep" / "test.csv").read_text() == "text,label\nb,2\n"


def test_the_checksum_is_of_names_and_contents(data: Path, tmp_path: Path) -> None:
    first = known(data, tmp_path)
    assert first.sha256 == content_sha256(dict(reversed(list(first.digests.items()))))
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(data, copy)
    assert known(copy, tmp_path).sha256 == first.sha256
    (copy / "deep" / "test.csv").rename(copy / "deep" / "validation.csv")
    assert known(copy, tmp_path).sha256 != first.sha256


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(data: Path, tmp_path: Path) -> None:
    first = known(data, tmp_path)
    remembered = tmp_path / "state" / "digests.json"
    marks = json.loads(remembered.read_text())
    (mark,) = [mark for mark in marks if "test.csv" in mark]
    marks[mark]["sha256"] = "ab" * 32
    remembered.write_text(json.dumps(marks))
    assert known(data, tmp_path).digests["deep/test.csv"].sha256 == "ab" * 32
    (data / "deep" / "test.csv").write_text("text,label\nc,2\n")
    changed = known(data, tmp_path)
    assert changed.digests["deep/test.csv"].sha256 not in ("ab" * 32, first.digests["deep/test.csv"].sha256)
