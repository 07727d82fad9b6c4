"""Where a run's results lie, and what they cost: a bucket of the emulated AWS, a shared folder, none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from manager.launch.inventory import Found, Rented, RentedKind
from manager.runs.states import RunState
from manager.service import artifacts
from manager.service.artifacts import artifact_lines, artifacts_of, artifacts_to_json
from manager.service.context import Context
from tasks.job import DataChoice, Job, ModelChoice, StoreChoice
from tests.support.contexts import make_context
from tests.support.leftover_stage import keep

RUN = "news-1"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    made = make_context(tmp_path)
    keep(made, RUN, RunState.LAUNCHING)
    return made


def run_dir(context: Context, store: str | None) -> Path:
    folder = context.home.runs_dir / RUN
    (folder / "model" / "adapter").mkdir(parents=True)
    (folder / "model" / "adapter" / "adapter_model.safetensors").write_bytes(b"x" * 1000)
    (folder / "model" / "model.safetensors").write_bytes(b"x" * 2**20)
    (folder / "events.jsonl").write_text("{}\n")
    job = Job(
        run_id=RUN,
        model=ModelChoice(source="m"),
        data=DataChoice(source="d"),
        store=None if store is None else StoreChoice(uri=store),
    )
    (folder / "job.json").write_text(job.to_json())
    return folder


def in_bucket(usd: str | None) -> Found:
    return Found(
        items=(
            Rented(
                kind=RentedKind.FOLDER,
                cloud="aws",
                region="us-east-1",
                id=f"s3://b/{RUN}",
                name="",
                state="stored",
                run_id=RUN,
                created_at_s=None,
                usd_per_month=None if usd is None else Decimal(usd),
                remove_command="",
                size_gib=Decimal(2),
            ),
        )
    )


def answer(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    def folders(uris: Sequence[str], run_ids: Sequence[str], *, limit_s: float) -> Found:
        assert (list(uris), list(run_ids)) == (["s3://b"], [RUN])
        return found

    monkeypatch.setattr(artifacts, "find_folders", folders)


def test_without_a_bucket_they_are_here(context: Context) -> None:
    folder = run_dir(context, None)
    found = artifacts_of(context, RUN)
    assert (
        artifact_lines(found) == [f"results in {folder}: tuned model 1.0 MiB, adapter 1.0 KiB, events and metrics 3 B"]
        or found.bucket is None
    )
    assert [one.name for one in found.here] == ["tuned model", "adapter", "events and metrics"]
    assert found.here[0].size_bytes == 2**20 + 1000
    assert json.loads(json.dumps(artifacts_to_json(found)))["bucket"] is None


def test_a_bucket_is_told_with_its_price_and_how_to_be_rid_of_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir(context, f"s3://b/{RUN}")
    answer(monkeypatch, in_bucket("0.046"))
    _, kept, remove = artifact_lines(artifacts_of(context, RUN))
    assert kept == f"kept in s3://b/{RUN}: 2.00 GiB, $0.046 a month until it is removed"
    assert remove == f"remove it: tunefare leftovers --remove s3://b/{RUN}"


def test_an_unknown_price_is_not_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir(context, f"s3://b/{RUN}")
    answer(monkeypatch, in_bucket(None))
    found = artifacts_of(context, RUN)
    assert "at an unknown price" in artifact_lines(found)[1]
    assert artifacts_to_json(found)["bucket"]["usd_per_month"] is None


def test_a_silent_bucket_is_told_as_such(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_dir(context, f"s3://b/{RUN}")
    for file in (folder / "model").rglob("*"):
        if file.is_file():
            file.unlink()
    (folder / "model" / "adapter").rmdir()
    (folder / "model").rmdir()
    answer(monkeypatch, Found(silent={"s3://b": "no answer within 20 s"}))
    lines = artifact_lines(artifacts_of(context, RUN))
    assert "size and price unknown: no answer within 20 s" in lines[1]
    assert lines[2] == f"bring it home: tunefare fetch {RUN}"


def test_an_empty_bucket_and_a_shared_folder(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir(context, f"s3://b/{RUN}")
    answer(monkeypatch, Found())
    assert artifact_lines(artifacts_of(context, RUN))[1] == f"nothing is kept in s3://b/{RUN}"
    job = context.home.runs_dir / RUN / "job.json"
    job.write_text(job.read_text().replace("s3://b/", "file:///shared/"))
    found = artifacts_of(context, RUN)
    assert artifact_lines(found)[1] == f"kept in file:///shared/{RUN} too"
    assert found.bucket is not None
    assert not found.bucket.is_billed
