"""The dead-man timer of a local run: templates/sky/deadman.sh in a session of its own, which needs nobody.

It is none of the run's processes, for it has to outlive each of them, the runner too; so it is found by a file of its
own. It ends by itself when the run is over, and `down` ends it at once. Where the system has no /proc there is none:
the runner alone keeps the longest duration then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path

import psutil

import manager

TICK_S = 1.0
IDLE_S = 5.0
"""After the end of a task whose processes nobody has cleared away."""
START_LIMIT_S = 900.0
"""For the trainer's first sign of life: a machine that is busy loads libraries for minutes."""
ARM_TIMEOUT_S = 20.0
_PID_FILE = ".deadman/pid"


def is_possible() -> bool:
    """Whether this system has what the timer reads."""
    return Path("/proc/uptime").exists() and Path("/bin/bash").exists()


def arm(run_dir: Path, environment: Mapping[str, str]) -> None:
    """Start the timer of a run; returns when it watches.

    Args:
        run_dir: of the run.
        environment: from `manager.launch.guarding.deadman_environment`.

    Raises:
        OSError: it cannot be started.
    """
    roots = [str(Path(manager.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    own = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(run_dir),
        "PYTHONPATH": os.pathsep.join(root for root in roots if root),
        "TUNEFARE_RUN_DIR": str(run_dir),
        "TUNEFARE_RUN_ID": run_dir.name,
        "TUNEFARE_TICK_S": f"{TICK_S}",
        "TUNEFARE_SETUP_TIMEOUT_S": f"{START_LIMIT_S}",
        **environment,
        "TUNEFARE_LOCAL_PYTHON": sys.executable,
        "TUNEFARE_CLOUD": "local",
        "TUNEFARE_IDLE_S": f"{IDLE_S}",
    }
    with as_file(files("templates") / "sky" / "deadman.sh") as script:
        subprocess.run(
            ["/bin/bash", str(script), "arm"],
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=run_dir,
            timeout=ARM_TIMEOUT_S,
            check=True,
        )
    deadline = time.monotonic() + ARM_TIMEOUT_S
    while find(run_dir) is None:
        if time.monotonic() >= deadline:
            raise OSError("the dead-man timer did not start")
        time.sleep(0.02)


def find(run_dir: Path) -> psutil.Process | None:
    """The timer of a run, while it lives."""
    try:
        pid, started = (run_dir / _PID_FILE).read_text(encoding="ascii").split()
        # The system's own count of the moment of its start: a pid alone may be another process by now.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return psutil.Process(int(pid)) if stat[19] == started and stat[0] != "Z" else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None


def end(run_dir: Path, *, patience_s: float = 5.0) -> None:
    """End the timer of a run and what it is waiting for."""
    timer = find(run_dir)
    if timer is None:
        return
    with suppress(psutil.NoSuchProcess):
        for process in (timer, *timer.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        timer.wait(patience_s)
