"""Starting, finding and ending a lab's processes.

Owns process ids: what a lab started is known by a pid file, by the marker in its environment or
by a user of its own, never by a program's name, so that another engine's processes are safe.
"""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .errors import LabError
from .layout import LabLayout


def run_command(
    command: Sequence[str],
    *,
    timeout_s: float = 30,
    environment: Mapping[str, str] | None = None,
    as_user: str | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a short command and give its stdout.

    Raises:
        LabError: it failed, is not installed or ran past its time.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=_own_environment() if environment is None else environment,
            user=as_user,
            group=as_user,
            extra_groups=[] if as_user else None,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise LabError(f"{command[0]}: {e}") from e
    if done.returncode:
        output = (done.stderr + done.stdout).strip()
        raise LabError(f"{' '.join(command)} returned {done.returncode}: {output[-2000:]}")
    return done.stdout


def _own_environment() -> dict[str, str]:
    """That of this process; administrators' programs are found too where a shell has no such folders."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def start_daemon(
    layout: LabLayout,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    as_user: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that stays in the foreground, in a session of its own, and note its pid."""
    with (layout.log / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, layout.marker: str(layout.root)},
            cwd=layout.root,
            start_new_session=True,
            user=as_user,
            group=as_user,
            extra_groups=[] if as_user else None,
        )
    (layout.run / f"{name}.pid").write_text(f"{process.pid}\n")
    return process


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Return as soon as the condition holds.

    Raises:
        LabError: it does not hold in time; the message says what was waited for.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.1)


def find_daemons(layout: LabLayout) -> set[int]:
    """Find the daemons in the pid files that still carry this lab's root in their command line.

    sshd writes its title over its own environment, so the marker alone would miss it.
    """
    root = str(layout.root).encode()
    pids = set()
    for pid_file in layout.run.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            if root in Path(f"/proc/{pid}/cmdline").read_bytes():
                pids.add(pid)
    return pids


def find_marked(layout: LabLayout) -> set[int]:
    """Find the processes that were started under this lab's environment, but for our own line."""
    marker = f"{layout.marker}={layout.root}".encode()
    spared = _own_line()
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                pids.add(int(folder.name))
    return pids - spared


def find_of_user(name: str) -> set[int]:
    """Find every process of a user, who exists for the lab alone."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        return set()
    pids = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == uid:
                pids.add(int(folder.name))
    return pids


def end_processes(pids: Iterable[int], *, grace_s: float = 5) -> None:
    """Ask the processes to end, then force those that did not in the grace time."""
    left = set(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + grace_s
        while (left := {pid for pid in left if _is_running(pid)}) and time.monotonic() < end:
            time.sleep(0.1)
        if not left:
            return


def _is_running(pid: int) -> bool:
    """Tell whether a process still runs; reaps it when it is a dead child of ours."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def _own_line() -> set[int]:
    """Give the ids of this process and its ancestors."""
    pids = set()
    pid = os.getpid()
    while pid > 1:
        pids.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return pids
