"""One fault of each kind at a random moment of a run on a real Slurm; `python -m tests.faults` tries more."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from tests.faults.matrix import play
from tests.faults.slurm_stage import SlurmStage, slurm_stage
from tests.faults.trials import CLOUD_FAULTS, Trial, draw

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1800)]
LENGTH_S = 60.0
"""Moments lie within this time of the run's creation; an undisturbed run takes longer."""
TRIALS = draw(6, len(CLOUD_FAULTS), CLOUD_FAULTS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmStage]:
    if importlib.util.find_spec("sky") is None:
        pytest.skip("needs the [sky] extra")
    with slurm_stage(tmp_path_factory.mktemp("faults") / "stage") as running:
        yield running


@pytest.mark.parametrize("trial", TRIALS, ids=[str(trial.fault) for trial in TRIALS])
def test_a_fault_leaves_nothing_behind(stage: SlurmStage, trial: Trial) -> None:
    finding = play(stage, trial, LENGTH_S)
    assert finding.moment_s is not None, "the run was over before the fault came"
    assert finding.defects == ()
    assert finding.left == ()
    assert (finding.lost, finding.doubled) == (0, 0)
