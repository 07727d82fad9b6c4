"""The README's demo, of its two epochs the first: a real pretrained model on real news, from nothing to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli, trainers_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_minilm_on_bbc_news(tmp_path: Path) -> None:
    # One thread: the Slurm half of the suite needs the other core, and threads that wait for each other stand still.
    cli = Cli(folder=tmp_path)
    assert cli.run("init", "--example", "bbc-news").code == 0
    run_file = tmp_path / "tunefare.yaml"
    text = run_file.read_text()
    assert text.count("epochs: 2") == 1
    run_file.write_text(text.replace("epochs: 2", "epochs: 1"))
    done = cli.run(
        "run", "--on", "local", "--yes", "--max-usd", "1", "--json", "--html", "report.html",
        timeout_s=1400, OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])["report"]
    tuned = report["scores"]["accuracy"]["tuned"]
    assert tuned >= 0.96
    assert tuned > report["scores"]["accuracy"]["baseline"] + 0.3
    assert "bbc-news-minilm" in (tmp_path / "report.html").read_text()
    assert trainers_of(tmp_path) == []
