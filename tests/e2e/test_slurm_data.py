"""Local data on their way to Slurm's machines by an emulated bucket: sent once, found by the second run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.stores.datasets import parse_staged
from tests.e2e.slurm_lab import SlurmLab
from tests.support.bucket_stage import BUCKET, Buckets, environment_of, s3_buckets
from tests.support.cli import Cli, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1500)]

RUN = ("run", "--on", "slurm", "--yes", "--max-usd", "5", "--skip-preflight", "--json")


@pytest.fixture(scope="module")
def lab() -> Iterator[SlurmLab]:
    if importlib.util.find_spec("sky") is None:
        pytest.skip("needs the [sky] extra")
    with SlurmLab() as running:
        yield running


@pytest.fixture
def buckets() -> Iterator[Buckets]:
    with s3_buckets() as running, environment_of(running):
        yield running


@pytest.fixture
def cli(tmp_path: Path, lab: SlurmLab, buckets: Buckets) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path, environment={**lab.environment(), **buckets.environment})
    yield commands
    commands.end()
    assert lab.squeue() == []


def test_data_are_staged_once_and_read_from_the_bucket(cli: Cli, buckets: Buckets, tmp_path: Path) -> None:
    bucket = f"s3://{BUCKET}/team"
    write_run_file(
        tmp_path,
        model=write_tiny_model(tmp_path / "model"),
        data=write_news(tmp_path),
        where={"clouds": ["slurm"], "accelerators": ["A100:1"]},
        storage={"bucket": bucket},
        # Slurm's machines have no credentials of their own.
        secrets=sorted(buckets.environment),
    )
    sent: list[list[str]] = []
    for _ in range(2):
        buckets.proxy.seen.clear()
        done = cli.start(*RUN).finish(timeout_s=700)
        assert done.code == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        (told,) = [line["text"] for line in lines if line["type"] == "log" and "data staged" in line["text"]]
        assert ("nothing was sent" in told) is bool(sent)
        assert any(line["type"] == "transfer" for line in lines) is not bool(sent)
        # The objects of the data set that were written: by whom is all the same.
        sent.append([seen.path for seen in buckets.proxy.seen if seen.method == "PUT" and "/data/" in seen.path])
        (artifacts,) = [line for line in lines if line["type"] == "artifacts"]
        assert artifacts["bucket"]["size_bytes"] > 0
        source = _source(tmp_path, artifacts["run_id"])
        assert source.startswith(f"{bucket}/data/")
        assert any(seen.method == "GET" and seen.range and "/data/" in seen.path for seen in buckets.proxy.seen)
    assert sent[0]
    assert sent[1] == []
    staged = parse_staged(source)
    assert staged is not None
    assert staged.file is not None


def _source(folder: Path, run_id: str) -> str:
    """Where the machine was told to read the data."""
    job = json.loads((folder / "home" / "runs" / run_id / "upload" / "job.json").read_text())
    assert not (folder / "home" / "runs" / run_id / "upload" / "data_in").exists()
    return str(job["data"]["source"])
