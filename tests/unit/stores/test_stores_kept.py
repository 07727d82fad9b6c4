"""storage.keep: nothing is given up before the other place has it whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.errors import UsageError
from manager.launch.engine import Handle
from manager.launch.kept_results import leave_bucket, model_stays_in_bucket
from manager.runs.updates import LogUpdate, Update
from manager.service.staging import settle_bucket
from manager.service.storing import store_of
from manager.spec.model import spec_content
from manager.spec.reader import parse_spec
from tasks.stores.store import Store
from tests.support.contexts import make_context
from tests.support.kept_model import keep_model
from tests.support.sky_stage import Stage

RUN = "news-1"


def kept(folder: Path, keep: str) -> tuple[Path, Store]:
    """A run at home and its folder in a store, with a tuned model in both."""
    run_dir = folder / "runs" / RUN
    return run_dir, keep_model(run_dir, keep, bucket=folder / "bucket")


def test_home_alone(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "home")
    assert "is removed" in (leave_bucket(run_dir) or "")
    assert store.list() == ()
    assert (run_dir / "model" / "model.safetensors").read_bytes() == b"weights"


def test_what_home_does_not_have_stays(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "home")
    (run_dir / "model" / "model.safetensors").write_bytes(b"other")
    before = store.list()
    assert "stays" in (leave_bucket(run_dir) or "")
    assert store.list() == before


def test_a_model_that_is_only_in_the_bucket_comes_first(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "home")
    (run_dir / "model" / "model.safetensors").unlink()
    (run_dir / "model").rmdir()
    assert "is removed" in (leave_bucket(run_dir) or "")
    assert (run_dir / "model" / "model.safetensors").read_bytes() == b"weights"
    assert store.list() == ()


def test_a_run_without_a_model_keeps_its_checkpoints(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "home")
    store.delete(["model/complete.json", "model/model.safetensors"])
    assert "stays" in (leave_bucket(run_dir) or "")
    assert [entry.key for entry in store.list()] == ["checkpoints/step-1/model.safetensors"]


def test_the_usual_leaves_both(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "both")
    told: list[Update] = []
    settle_bucket(RUN, run_dir, told.append)
    assert told == []
    assert store.list()
    assert not model_stays_in_bucket(run_dir)


def test_a_bucket_that_fails_is_a_warning_and_no_end(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "home")
    store.put_bytes("model/complete.json", b"no manifest")
    told: list[Update] = []
    settle_bucket(RUN, run_dir, told.append)
    (log,) = told
    assert isinstance(log, LogUpdate)
    assert log.text.startswith("WARNING")


def test_the_model_stays_where_the_bucket_has_all_of_it(tmp_path: Path) -> None:
    run_dir, store = kept(tmp_path, "bucket")
    assert model_stays_in_bucket(run_dir)
    store.delete(["model/complete.json"])
    assert not model_stays_in_bucket(run_dir)


def test_the_run_file(tmp_path: Path) -> None:
    good = "schema: 1\nmodel: org/model\ndata: org/data\n"
    spec = parse_spec(f"{good}storage:\n  bucket: s3://b1-x\n  keep: bucket\n", name="f", folder=tmp_path)
    store = store_of(make_context(tmp_path), spec, "run-1", cloud="aws")
    assert store is not None
    assert store.keep == "bucket"
    assert spec_content(spec)["storage"] == {"bucket": "s3://b1-x", "keep": "bucket"}
    usual = parse_spec(f"{good}storage:\n  bucket: s3://b1-x\n", name="f", folder=tmp_path)
    assert spec_content(usual)["storage"] == {"bucket": "s3://b1-x"}
    nowhere = parse_spec(f"{good}storage:\n  keep: bucket\n", name="f", folder=tmp_path)
    with pytest.raises(UsageError, match="there is no bucket"):
        store_of(make_context(tmp_path), nowhere, "run-1", cloud="aws")


@pytest.mark.parametrize(("keep", "comes"), [("both", True), ("bucket", False)])
def test_the_machine_hands_the_model_over_unless_the_bucket_keeps_it(keep: str, comes: bool, tmp_path: Path) -> None:
    run_dir, _ = kept(tmp_path, keep)
    stage = Stage(tmp_path)
    stage.play()
    handle = Handle(engine="sky", run_dir=str(run_dir), name=f"tf-{RUN}", details={"run_id": RUN, "job_id": 1})
    stage.engine.fetch(handle)
    stage.engine.close()
    ((_, asked),) = stage.calls("fetch")
    sources = [source for source, _ in asked["items"]]
    assert any(source.endswith("/events.jsonl") for source in sources)
    assert any(source.endswith("/model/") for source in sources) is comes
