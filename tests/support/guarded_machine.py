"""A machine as the dead-man timer sees it: a home, a trainer, and commands on its PATH that tell of their calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import psutil

STUB = '#!/bin/bash\necho "{name} $*" >> "{calls}"\n{body}\n'
STUBBORN = "trap 'echo TERM >> {said}' TERM; while true; do sleep 0.1; done"
OBEDIENT = "trap 'echo TERM >> {said}; exit 0' TERM; while true; do sleep 0.1; done"


@dataclass(kw_only=True)
class Machine:
    """One rented machine with nothing on it but the timer's two files."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        """Of the run on the machine."""
        return self.folder / "home" / "tunefare-run" / "demo-1"

    @property
    def calls(self) -> list[str]:
        """What was called to end the machine, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def log(self) -> str:
        """What the timer said."""
        file = self.run_dir / "deadman.log"
        return file.read_text() if file.exists() else ""

    @property
    def said(self) -> list[str]:
        """Signals that the trainer heard of."""
        file = self.folder / "said"
        return file.read_text().splitlines() if file.exists() else []

    def stub(self, name: str, body: str = "exit 0") -> None:
        """Put a command on the PATH that writes its call down."""
        file = self.folder / "bin" / name
        file.write_text(STUB.format(name=name, calls=self.folder / "calls", body=body))
        file.chmod(0o755)

    def environment(self, **changes: str) -> dict[str, str]:
        """Of the set-up: times of tenths of seconds."""
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "TUNEFARE_RUN_ID": "demo-1",
            "TUNEFARE_CLOUD": "lambda",
            "TUNEFARE_TICK_S": "0.1",
            "TUNEFARE_RETRY_S": "0.3",
            "TUNEFARE_IDLE_S": "60",
            "TUNEFARE_SILENCE_S": "60",
            **changes,
        }

    def arm(self, **changes: str) -> None:
        """As the first line of the set-up does."""
        upload = self.folder / "upload"
        upload.mkdir(exist_ok=True)
        for name in ("deadman.sh", "deadman_end.py"):
            (upload / name).write_text((files("templates") / "sky" / name).read_text(encoding="utf-8"))
        subprocess.run(
            ["bash", "deadman.sh", "arm"], cwd=upload, env=self.environment(**changes), check=True, timeout=20
        )

    def train(self, script: str = STUBBORN) -> subprocess.Popen[bytes]:
        """Start a trainer and name it as run.sh does."""
        process = subprocess.Popen(["bash", "-c", script.format(said=self.folder / "said")], start_new_session=True)
        self.started.append(process)
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "pid").write_text(f"{process.pid} {started}\n")
        return process

    def beat(self, *, progress_at: float = 1.0, busy_at: float = 1.0, phase: str = "training") -> None:
        """A sign of life."""
        told = {"at": time.time(), "phase": phase, "progress_at": progress_at, "busy_at": busy_at}
        (self.run_dir / "heartbeat.new").write_text(json.dumps(told) + "\n")
        (self.run_dir / "heartbeat.new").replace(self.run_dir / "heartbeat.json")

    def timers(self) -> list[psutil.Process]:
        """Living timers of this machine."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "watch" in words and any(str(self.run_dir) in word for word in words):
                found.append(process)
        return found

    def end(self) -> None:
        """End what is left."""
        for timer in self.timers():
            # A helper of the timer, or the timer, may end between the look and the signal.
            with suppress(psutil.NoSuchProcess):
                below = timer.children(recursive=True)
                timer.send_signal(signal.SIGKILL)
                for process in below:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGKILL)
        for trainer in self.started:
            if trainer.poll() is None:
                os.killpg(trainer.pid, signal.SIGKILL)
            trainer.wait(10)


def wait_for(condition: Callable[[], object], *, what: str, timeout_s: float = 20.0) -> float:
    """Wait until a condition holds; returns the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.02)
    return time.monotonic() - started
