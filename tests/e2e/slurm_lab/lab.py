"""The lab: brings the site up on a bare machine, gives the tests their handles, takes it down.

Owns the order of things and the rule that one lab is up at a time. A lab that was never taken down
(a killed test run) is ended by the next one that comes up.
"""

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.packages import install_packages
from tests.e2e.engine_lab.processes import end_processes, find_daemons, find_marked, find_of_user
from tests.e2e.engine_lab.sky_client import kill_api_server, pick_free_port, stop_api_server

from . import jobs
from .client import client_environment, write_client_home
from .daemons import make_keys, sshd_processes, start_daemons
from .jobs import QueuedJob
from .layout import JOB_USER, LOCK_FILE, Layout
from .site_software import PACKAGES_BY_PROGRAM, prepare_job_user, prepare_uv, remove_temporary_files

_FRESH_PREFIX = "slurm-lab-"


class SlurmLab:
    """A Slurm site on loopback with a SkyPilot client folder beside it; a context manager.

    Args:
        root: scratch folder; None makes a fresh one, which `down` removes again.
        provision_timeout_s: how long SkyPilot waits for a full partition before it fails over.
    """

    def __init__(self, root: Path | None = None, *, provision_timeout_s: int = 15) -> None:
        self._keeps_root = root is not None
        self._layout = Layout(root or Path(tempfile.mkdtemp(prefix=_FRESH_PREFIX, dir="/tmp")))
        self._provision_timeout_s = provision_timeout_s
        self._api_port = pick_free_port()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.install()
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def root(self) -> Path:
        """The lab's scratch folder; logs lie in `log/`."""
        return self._layout.root

    @property
    def client_home(self) -> Path:
        """HOME of the client processes."""
        return self._layout.client_home

    def install(self) -> bool:
        """Install the Debian packages that are missing; tells whether there were any."""
        return install_packages(PACKAGES_BY_PROGRAM, what="the Slurm lab")

    def up(self) -> None:
        """Bring the site up, after ending what a crashed lab left behind.

        Raises:
            LabError: another lab is up, or a daemon did not start.
        """
        try:
            self._take_lock()
            self._make_folders()
            make_keys(self._layout)
            prepare_job_user(self._layout)
            prepare_uv(self._layout)
            write_client_home(self._layout, provision_timeout_s=self._provision_timeout_s)
            self._daemons = start_daemons(self._layout)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End all that the lab started; harmless when nothing is up."""
        if self._lock is not None:
            self.api_stop()
            _end_lab(self._layout)
            for process in self._daemons:
                process.wait(timeout=10)
            self._daemons = []
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None
        if not self._keeps_root:
            _remove_fresh_root(self.root)

    def environment(self) -> dict[str, str]:
        """Give the environment under which `sky` or `tunefare` must run to stay in the lab."""
        return client_environment(self._layout, api_port=self._api_port)

    def api_stop(self) -> None:
        """End this lab's SkyPilot API server, if one runs."""
        stop_api_server(self.environment())

    def kill_api_server(self) -> bool:
        """SIGKILL to SkyPilot's API server; what it had started lives on. False: there was none."""
        return kill_api_server(self._layout)

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

    def _take_lock(self) -> None:
        lock = LOCK_FILE.open("a+")
        lock.seek(0)
        previous_root = lock.read().strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            lock.close()
            raise LabError(f"another Slurm lab is up on this machine, in {previous_root}") from e
        if previous_root:
            _end_lab(Layout(Path(previous_root)))
            _remove_fresh_root(Path(previous_root))
        end_processes(find_of_user(JOB_USER))
        lock.truncate(0)
        lock.write(f"{self.root}\n")
        lock.flush()
        self._lock = lock

    def _make_folders(self) -> None:
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


def _end_lab(layout: Layout) -> None:
    """End the jobs first: their supervisors report to the controller before they go."""
    if find_daemons(layout):
        with contextlib.suppress(LabError):
            jobs.cancel_all(layout)
    end_processes(find_daemons(layout) | find_marked(layout) | find_of_user(JOB_USER))
    remove_temporary_files()


def _remove_fresh_root(root: Path) -> None:
    """Remove a root that a lab made for itself; a root that a caller chose is the caller's."""
    if root.parent == Path("/tmp") and root.name.startswith(_FRESH_PREFIX):
        shutil.rmtree(root, ignore_errors=True)
