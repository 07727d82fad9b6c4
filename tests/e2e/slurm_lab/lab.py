"""The lab: brings the site up on a bare machine, gives the tests their handles, takes it down."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.lab import EngineLab, fresh_root
from tests.e2e.engine_lab.packages import install_packages
from tests.e2e.engine_lab.processes import end_processes, find_daemons, find_marked, find_of_user

from . import jobs
from .client import client_environment, write_client_home
from .daemons import make_keys, sshd_processes, start_daemons
from .jobs import QueuedJob
from .layout import JOB_USER, Layout
from .site_software import PACKAGES_BY_PROGRAM, prepare_job_user, prepare_uv, remove_temporary_files


class SlurmLab(EngineLab[Layout]):
    """A Slurm site on loopback with a SkyPilot client folder beside it; a context manager.

    Args:
        root: scratch folder; None makes a fresh one, which `down` removes again.
        provision_timeout_s: how long SkyPilot waits for a full partition before it fails over.
    """

    def __init__(self, root: Path | None = None, *, provision_timeout_s: int = 15) -> None:
        super().__init__(Layout(root or fresh_root(Layout.fresh_prefix)), keeps_root=root is not None)
        self._provision_timeout_s = provision_timeout_s

    def install(self) -> bool:
        """Install the Debian packages that are missing; tells whether there were any."""
        return install_packages(PACKAGES_BY_PROGRAM, what="the Slurm lab")

    def _start(self) -> list[subprocess.Popen[bytes]]:
        self._make_folders()
        make_keys(self._layout)
        prepare_job_user(self._layout)
        prepare_uv(self._layout)
        write_client_home(self._layout, provision_timeout_s=self._provision_timeout_s)
        return start_daemons(self._layout)

    def _end(self, layout: Layout) -> None:
        # The jobs first: their supervisors report to the controller before they go.
        if find_daemons(layout):
            with contextlib.suppress(LabError):
                jobs.cancel_all(layout)
        end_processes(find_daemons(layout) | find_marked(layout) | find_of_user(JOB_USER))
        remove_temporary_files()

    def environment(self) -> dict[str, str]:
        """Give the environment under which `sky` or `tunefare` must run to stay in the lab."""
        return client_environment(self._layout, api_port=self._api_port)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Let the login node's sshd, with all its connections, stop answering inside; jobs go on."""
        stopped = sshd_processes(self._layout)
        for pid in stopped:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)

    def squeue(self) -> list[QueuedJob]:
        """List the jobs in the queue."""
        return jobs.list_jobs(self._layout)

    def cancel(self, job_id: int) -> None:
        """Cancel a Slurm job behind SkyPilot's back."""
        jobs.cancel_job(self._layout, job_id)

    def fill_partition(self, name: str) -> int:
        """Take every node of a partition, so that SkyPilot must fail over; gives the job's id."""
        return jobs.fill(self._layout, name)

    @contextlib.contextmanager
    def site_variable(self, name: str, value: str) -> Iterator[None]:
        """Let the site export one more variable to all jobs, as an administrator's mistake would."""
        profile = self._layout.job_home / ".profile"
        before = profile.read_text()
        profile.write_text(f"{before}export {name}={shlex.quote(value)}\n")
        try:
            yield
        finally:
            profile.write_text(before)

    def free_partition(self, name: str) -> None:
        """Give the partition back that `fill_partition` took."""
        jobs.free(self._layout, name)

    def _make_folders(self) -> None:
        # A root of a lab that has lost its lock file has jobs of nobody.
        end_processes(find_of_user(JOB_USER))
        # Old state would bring back the jobs of the lab that used this root before.
        shutil.rmtree(self._layout.spool, ignore_errors=True)
        for folder in self._layout.shared_folders():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        self._layout.job_home.mkdir(exist_ok=True)
        self._layout.job_home.chmod(0o755)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
