"""The lab itself: a real SkyPilot launch on the real Slurm, with real torch, and nothing left."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import slurm_lab
from tests.e2e.slurm_lab import LabError, SlurmLab

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(900)]

_ONE_JOB = Path(slurm_lab.__file__).parent / "one_job.py"
_CRASH = """import os
from tests.e2e.slurm_lab import SlurmLab
lab = SlurmLab()
lab.install()
lab.up()
lab.fill_partition("a100")
print(lab.root, flush=True)
os._exit(1)"""
_SETUP = """set -e
uv venv --python 3.11 "$HOME/.tunefare-env"
printf 'torch==2.13.0\\n' > requirements.txt
VIRTUAL_ENV="$HOME/.tunefare-env" uv pip install -r requirements.txt"""
_PRINT_VERSION = '"$HOME/.tunefare-env/bin/python" -c "import torch; print(f\'torch={torch.__version__}\')"'


@pytest.fixture(scope="module")
def crashed_root() -> Path:
    """Root of a lab whose process died while a job ran, with all of its daemons still up."""
    done = subprocess.run(
        [sys.executable, "-c", _CRASH],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=700,
    )
    assert done.returncode == 1, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def lab(crashed_root: Path) -> Iterator[SlurmLab]:
    if importlib.util.find_spec("sky") is None:
        pytest.skip("needs the [sky] extra")
    with SlurmLab() as running:
        yield running


def run_one_job(lab: SlurmLab, cluster: str, gpu: str, setup: str, run: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(_ONE_JOB), cluster, gpu, setup, run],
        env=lab.environment(),
        cwd=lab.client_home,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_lab_comes_up_over_what_a_crashed_one_left(lab: SlurmLab, crashed_root: Path) -> None:
    assert crashed_root != lab.root
    assert not crashed_root.exists()
    assert lab.squeue() == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, timeout=10)
    assert str(lab.root) in processes.stdout
    assert str(crashed_root) not in processes.stdout


@pytest.mark.slow
def test_job_runs_torch_on_the_cheapest_partition_and_leaves_nothing(lab: SlurmLab) -> None:
    result = run_one_job(lab, "cheapest", "A100:1", _SETUP, _PRINT_VERSION)

    assert result["exit_code"] == 0, result["log"]
    assert "torch=2.13.0" in result["log"]
    assert result["partition"] == "a100b"
    assert result["price_usd_per_hour"] == 1.99
    assert result["clusters_left"] == []
    assert lab.squeue() == []


@pytest.mark.slow
def test_full_partition_sends_the_job_to_the_next_price(lab: SlurmLab) -> None:
    filler = lab.fill_partition("a100b")
    try:
        assert [(job.job_id, job.state) for job in lab.squeue()] == [(filler, "RUNNING")]
        result = run_one_job(lab, "dearer", "A100:1", "true", "hostname")
    finally:
        lab.free_partition("a100b")

    assert result["exit_code"] == 0, result["log"]
    assert result["partition"] == "a100"
    assert result["price_usd_per_hour"] == 3.67
    assert lab.squeue() == []


def test_second_lab_is_refused_while_one_is_up(lab: SlurmLab) -> None:
    with pytest.raises(LabError, match="another Slurm lab is up"):
        SlurmLab().up()
    assert lab.squeue() == []
