"""What a lab of any kind does: one is up at a time, SkyPilot's API server is its own, and all of it ends with it.

A lab that was never taken down (a killed test run) is ended by the next one that comes up.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, Generic, Self, TypeVar

from .errors import LabError
from .layout import LabLayout
from .processes import end_processes, find_daemons, find_marked
from .queue_port import pick_api_port, release_queue_port
from .sky_client import find_api_servers, kill_api_server, stop_api_server

LayoutT = TypeVar("LayoutT", bound=LabLayout)
_TMP = Path("/tmp")


class EngineLab(ABC, Generic[LayoutT]):
    """An engine on this machine's loopback interface, with a SkyPilot client's folder beside it; a context manager."""

    def __init__(self, layout: LayoutT, *, keeps_root: bool) -> None:
        """
        Args:
            layout: its folders.
            keeps_root: `down` leaves them.
        """
        self._layout = layout
        self._keeps_root = keeps_root
        self._api_port = pick_api_port()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.install()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
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

    @abstractmethod
    def install(self) -> bool:
        """Install the Debian packages that are missing; tells whether there were any."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Give the environment under which `sky` or `tunefare` must run to stay in the lab."""

    @abstractmethod
    def _start(self) -> list[subprocess.Popen[bytes]]:
        """Write what the daemons read and start them."""

    def _end(self, layout: LayoutT) -> None:
        """End the processes of a lab, which may be one that crashed."""
        end_processes(find_daemons(layout))
        end_processes(find_marked(layout))

    def up(self) -> None:
        """Bring the engine up, after ending what a crashed lab left behind.

        Raises:
            LabError: another lab is up, or a daemon did not start.
        """
        try:
            self._take_lock()
            self._daemons = self._start()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End all that the lab started; harmless when nothing is up."""
        if self._lock is not None:
            self.api_stop()
            self._end(self._layout)
            for process in self._daemons:
                process.wait(timeout=10)
            self._daemons = []
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None
        release_queue_port(self._api_port)
        if not self._keeps_root:
            _remove_fresh_root(self._layout)

    def api_stop(self) -> None:
        """End this lab's SkyPilot API server, if one runs."""
        stop_api_server(self.environment())

    def api_servers(self) -> set[int]:
        """Pids of SkyPilot's API server; none where it does not run."""
        return find_api_servers(self._layout)

    def kill_api_server(self) -> bool:
        """SIGKILL to SkyPilot's API server, as when memory runs out; what it had started lives on. False: none was."""
        return kill_api_server(self._layout)

    def _take_lock(self) -> None:
        layout = self._layout
        lock = layout.lock_file.open("a+")
        lock.seek(0)
        previous_root = lock.read().strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            lock.close()
            raise LabError(f"another {layout.name} lab is up on this machine, in {previous_root}") from e
        if previous_root:
            previous = type(layout)(Path(previous_root))
            self._end(previous)
            _remove_fresh_root(previous)
        lock.truncate(0)
        lock.write(f"{self.root}\n")
        lock.flush()
        self._lock = lock


def fresh_root(prefix: str) -> Path:
    """Make a scratch folder for a lab, which other users of the machine may enter."""
    root = Path(tempfile.mkdtemp(prefix=prefix, dir=_TMP))
    os.chmod(root, 0o755)
    return root


def _remove_fresh_root(layout: LabLayout) -> None:
    """Remove a root that a lab made for itself; a root that a caller chose is the caller's."""
    if layout.root.parent == _TMP and layout.root.name.startswith(layout.fresh_prefix):
        shutil.rmtree(layout.root, ignore_errors=True)
