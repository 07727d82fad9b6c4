"""An emulated AWS: a run's instance, which SkyPilot rents, is its machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tasks.protocol import EVENTS_FILE
from tests.e2e.aws_lab import AwsLab
from tests.e2e.aws_lab.inside import MACHINE_UID
from tests.faults.sky_stage import SkyScene, SkyStage
from tests.support.aws_stage import RUN, write_aws_job
from tests.support.cli import Cli, write_tiny_model

TRAINING = {"epochs": 60, "eval_every_steps": 300, "checkpoint_every_steps": 100}


class AwsScene(SkyScene):
    """One run on the cheapest machine with an L4."""

    run_arguments = (*RUN[1:], "--requote", "continue")

    def __init__(self, cli: Cli, lab: AwsLab) -> None:
        self._aws = lab
        super().__init__(cli, lab)

    def machines(self) -> tuple[str, ...]:
        """Instances that the account pays for."""
        return tuple(f"{instance.instance_id} {instance.state}" for instance in self._aws.instances())

    def event_files(self, run_id: str) -> Sequence[Path]:
        """In the home of each instance, past its sshd."""
        homes = (self._aws.home_of(instance.instance_id) for instance in self._aws.instances())
        return [home / "tunefare-run" / run_id / EVENTS_FILE for home in homes if home is not None]

    def is_on_machine(self, process: psutil.Process) -> bool:
        """Tasks are of the user that SkyPilot works as."""
        return process.uids().real == MACHINE_UID

    def end_machines(self) -> None:
        """By the account itself; faults of the lab are over too."""
        self._aws.heal()
        for instance in self._aws.instances():
            self._aws.terminate(instance.instance_id)


class AwsStage(SkyStage):
    """Runs on the lab's machines."""

    name = "aws"

    def __init__(self, folder: Path, lab: AwsLab) -> None:
        self._aws = lab
        super().__init__(folder, lab)

    def write_job(self, folder: Path) -> None:
        """For one L4."""
        write_aws_job(folder, write_tiny_model(folder.parent / "model"), training=TRAINING)

    def make_scene(self, cli: Cli) -> AwsScene:
        """A scene of the lab."""
        return AwsScene(cli, self._aws)


@contextmanager
def aws_stage(folder: Path) -> Iterator[AwsStage]:
    """The stage in a lab that is up as long as it is used."""
    with AwsLab() as lab:
        yield AwsStage(folder, lab)
