"""One fault of each kind at a random moment of a real run on this machine; `make faults` tries them all."""

from __future__ import annotations

import pytest

from tests.faults.local_stage import TRAINING, LocalStage
from tests.faults.matrix import play
from tests.faults.trials import LOCAL_FAULTS, Trial, draw

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
LENGTH_S = 8.0
"""Moments lie within this time of the run's creation; an undisturbed run takes longer."""
LONGER = {**TRAINING, "epochs": 60}
"""So that the trainer itself still lives at each of them, on a fast machine too."""
TRIALS = draw(6, len(LOCAL_FAULTS), LOCAL_FAULTS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> LocalStage:
    return LocalStage(tmp_path_factory.mktemp("faults") / "stage", LONGER)


@pytest.mark.parametrize("trial", TRIALS, ids=[str(trial.fault) for trial in TRIALS])
def test_a_fault_leaves_nothing_behind(stage: LocalStage, trial: Trial) -> None:
    if trial.fault not in stage.faults:
        pytest.skip("a disk of its own needs root")
    finding = play(stage, trial, LENGTH_S)
    assert finding.moment_s is not None, "the run was over before the fault came"
    assert finding.defects == ()
    assert finding.left == ()
    assert (finding.lost, finding.doubled) == (0, 0)
