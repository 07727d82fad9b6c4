"""A real Slurm: the jobs of a run, which SkyPilot submits, are its machines."""

from __future__ import annotations

import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from manager.launch.render import cluster_name
from tasks.protocol import EVENTS_FILE
from tests.e2e.engine_lab.errors import LabError
from tests.e2e.slurm_lab import SlurmLab
from tests.e2e.slurm_lab.jobs import QueuedJob
from tests.e2e.slurm_lab.layout import JOB_USER
from tests.faults.sky_stage import SkyScene, SkyStage
from tests.faults.stage import read_run
from tests.support.cli import Cli, write_news, write_run_file, write_tiny_model

TRAINING = {"epochs": 150, "eval_every_steps": 400, "checkpoint_every_steps": 100}
WHERE = {"clouds": ["slurm"], "accelerators": ["A100"]}


class SlurmScene(SkyScene):
    """One run on an A100 of the cheapest partition."""

    run_arguments = ("--on", "slurm", "--yes", "--max-usd", "5", "--skip-preflight", "--requote", "continue")

    def __init__(self, cli: Cli, lab: SlurmLab) -> None:
        self._slurm = lab
        super().__init__(cli, lab)

    def machines(self) -> tuple[str, ...]:
        """Jobs of the run that pend, run or are ending."""
        try:
            return tuple(f"job {job.job_id} {job.name} {job.state}" for job in self._jobs())
        except LabError as error:
            return (f"the queue does not answer: {error}",)

    def event_files(self, run_id: str) -> Sequence[Path]:
        """In the home that all nodes share."""
        return list(self._slurm.root.glob(f"jobhome/.sky_clusters/*/tunefare-run/{run_id}/{EVENTS_FILE}"))

    def is_on_machine(self, process: psutil.Process) -> bool:
        """Jobs are the job user's; those of other runs may be there."""
        record = read_run(self.home)
        is_jobs = process.uids().real == pwd.getpwnam(JOB_USER).pw_uid
        return is_jobs and record is not None and any(record.run_id in word for word in process.cmdline())

    def end_machines(self) -> None:
        """By Slurm itself."""
        for job in self._jobs():
            self._slurm.cancel(job.job_id)

    def _jobs(self) -> list[QueuedJob]:
        # SkyPilot names a job after its cluster.
        record = read_run(self.home)
        return (
            [] if record is None else [job for job in self._slurm.squeue() if cluster_name(record.run_id) in job.name]
        )


class SlurmStage(SkyStage):
    """Runs on the lab's partitions."""

    name = "slurm"

    def __init__(self, folder: Path, lab: SlurmLab) -> None:
        self._slurm = lab
        super().__init__(folder, lab)

    def write_job(self, folder: Path) -> None:
        """For one A100."""
        model = write_tiny_model(folder.parent / "model")
        write_run_file(folder, model=model, data=write_news(folder.parent), training=TRAINING, where=WHERE)

    def make_scene(self, cli: Cli) -> SlurmScene:
        """A scene of the lab."""
        return SlurmScene(cli, self._slurm)


@contextmanager
def slurm_stage(folder: Path) -> Iterator[SlurmStage]:
    """The stage in a lab that is up as long as it is used."""
    with SlurmLab() as lab:
        yield SlurmStage(folder, lab)
