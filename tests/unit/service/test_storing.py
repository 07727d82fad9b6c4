"""In which folder of which bucket a run is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import SpecError, UsageError
from manager.service.settings import set_setting
from manager.service.storing import store_of
from manager.spec.model import RunSpec, Storage
from manager.spec.reader import parse_spec
from tests.support.contexts import make_context
from tests.support.plan_factory import make_spec

GOOD = "schema: 1\nmodel: org/model\ndata: org/data\n"


def spec_with(bucket: str | None) -> RunSpec:
    return replace(make_spec(), storage=Storage(bucket=bucket))


@pytest.mark.parametrize("bucket", ["s3://b1-x/prefix/", "gs://b1-x/prefix", "gs://b1-x"])
def test_a_run_has_a_folder_of_its_own_in_the_run_files_bucket(bucket: str, tmp_path: Path) -> None:
    spec = parse_spec(f"{GOOD}storage:\n  bucket: {bucket}\n", name="f", folder=tmp_path)
    store = store_of(make_context(tmp_path), spec, "run-1", cloud="aws")
    assert store is not None
    assert store.uri == f"{bucket.rstrip('/')}/run-1"


@pytest.mark.parametrize(
    "bucket", ["b1", "ftp://b1/x", "s3://", "s3://B1/x", "s3://b1/../x", "file://", "s3://b1/a//b"]
)
def test_what_is_no_bucket_is_refused_with_its_line(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="f:5") as caught:
        parse_spec(f"{GOOD}storage:\n  bucket: {bucket}\n", name="f", folder=tmp_path)
    assert "s3://bucket/prefix" in caught.value.message


def test_the_setting_holds_for_rented_machines(tmp_path: Path) -> None:
    set_setting(make_context(tmp_path), "bucket", "s3://team/runs")
    context = make_context(tmp_path)
    rented = store_of(context, make_spec(), "run-1", cloud="gcp")
    assert rented is not None
    assert rented.uri == "s3://team/runs/run-1"
    assert store_of(context, make_spec(), "run-1", cloud="local") is None
    own = store_of(context, spec_with("gs://own"), "run-1", cloud="aws")
    assert own is not None
    assert own.uri == "gs://own/run-1"


def test_without_a_bucket_there_is_no_store(tmp_path: Path) -> None:
    assert store_of(make_context(tmp_path), make_spec(), "run-1", cloud="aws") is None


def test_a_folder_is_for_machines_that_have_it(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert store_of(context, spec_with("file:///shared"), "run-1", cloud="slurm") is not None
    assert store_of(context, spec_with("file:///shared"), "run-1", cloud="local") is not None
    with pytest.raises(UsageError, match="does not have"):
        store_of(context, spec_with("file:///shared"), "run-1", cloud="aws")
