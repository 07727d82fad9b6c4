"""What stands in the site's queue, and jobs that only take up room."""

from dataclasses import dataclass

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.processes import run_command, wait_until

from .daemons import site_environment
from .layout import JOB_USER, Layout
from .partitions import find_partition

_FILLER_PREFIX = "fill-"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """One line of squeue."""

    job_id: int
    """Slurm's job id."""
    partition: str
    """Partition that the job asked for."""
    name: str
    """Job name: SkyPilot's cluster name with a suffix, or `fill-<partition>`."""
    state: str
    """Slurm's long state name, as PENDING, RUNNING, COMPLETING."""
    nodes: int
    """Nodes that it has or asks for."""


def list_jobs(layout: Layout) -> list[QueuedJob]:
    """List the jobs that pend, run or are ending."""
    text = run_command(["squeue", "--noheader", "--format=%i|%P|%T|%D|%j"], environment=site_environment(layout))
    jobs = []
    for line in text.splitlines():
        job_id, partition, state, nodes, name = line.split("|", 4)
        jobs.append(QueuedJob(job_id=int(job_id), partition=partition, name=name, state=state, nodes=int(nodes)))
    return jobs


def cancel_job(layout: Layout, job_id: int) -> None:
    """End one job from outside SkyPilot, as a preemption or an administrator would."""
    run_command(["scancel", str(job_id)], environment=site_environment(layout))


def cancel_all(layout: Layout, *, timeout_s: float = 20) -> None:
    """Cancel every job and wait until the queue is empty."""
    for job in list_jobs(layout):
        cancel_job(layout, job.job_id)
    wait_until(lambda: not list_jobs(layout), timeout_s=timeout_s, what="empty Slurm queue")


def fill(layout: Layout, partition_name: str) -> int:
    """Take all nodes of a partition and give the job's id.

    Raises:
        KeyError: no such partition.
        LabError: the partition is not free.
    """
    partition = find_partition(partition_name)
    command = [
        "sbatch",
        "--parsable",
        "--exclusive",
        f"--job-name={_FILLER_PREFIX}{partition_name}",
        f"--partition={partition_name}",
        f"--nodes={partition.node_count}",
        "--mem=0",
        "--output=/dev/null",
        "--wrap=exec sleep 14000",
    ]
    text = run_command(command, environment=site_environment(layout), as_user=JOB_USER, cwd=layout.job_home)
    job_id = int(text.strip())

    def is_running() -> bool:
        return any(job.job_id == job_id and job.state == "RUNNING" for job in list_jobs(layout))

    try:
        wait_until(is_running, timeout_s=20, what=f"{partition_name} filled")
    except LabError:
        cancel_job(layout, job_id)
        raise
    return job_id


def free(layout: Layout, partition_name: str) -> None:
    """End the jobs with which `fill` took the partition, and wait until they are gone."""
    name = f"{_FILLER_PREFIX}{partition_name}"

    def fillers() -> list[QueuedJob]:
        return [job for job in list_jobs(layout) if job.name == name]

    for job in fillers():
        cancel_job(layout, job.job_id)
    wait_until(lambda: not fillers(), timeout_s=20, what=f"{partition_name} free")
