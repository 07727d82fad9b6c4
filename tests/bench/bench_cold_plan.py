"""Cold time of `tunefare plan` beside that of `sky launch --dryrun` for the same request, in the same run.

Both are started as a user starts them, in fresh processes. SkyPilot needs an enabled cloud, so its half runs against
the Slurm lab of the end-to-end tests (Debian, root); its API server is started beforehand and not counted, which
favours it. Prints wall time and CPU time (of the process and its children) and the ratio; asserts nothing.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.slurm_lab import SlurmLab
from tests.support.cli import write_news, write_run_file, write_tiny_model

ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One measured command."""

    wall_s: float
    cpu_s: float


def measure(command: Sequence[str], *, folder: Path, environment: dict[str, str]) -> Timing:
    """Run a command to its end and time it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return Timing(wall_s=wall_s, cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def best(command: Sequence[str], *, folder: Path, environment: dict[str, str]) -> Timing:
    """The quickest of several rounds: other work on the machine only ever adds."""
    timings = [measure(command, folder=folder, environment=environment) for _ in range(ROUNDS)]
    return min(timings, key=lambda timing: timing.wall_s)


def main() -> None:
    """Print the table."""
    binaries = Path(sys.executable).parent
    with SlurmLab() as lab, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_tiny_model(folder / "model")
        where = {"clouds": ["slurm"], "accelerators": ["A100"]}
        write_run_file(folder, model=model, data=write_news(folder), where=where)
        environment = {**lab.environment(), "TUNEFARE_HOME": str(folder / "home")}
        plan = [str(binaries / "tunefare"), "plan", "--on", "slurm"]
        dryrun = [str(binaries / "sky"), "launch", "--dryrun", "--yes", "--infra", "slurm", "--gpus", "A100:1", "true"]
        first = measure(plan, folder=folder, environment=environment)
        ours = best(plan, folder=folder, environment=environment)
        measure(dryrun, folder=folder, environment=environment)
        theirs = best(dryrun, folder=folder, environment=environment)
    rows = [
        ("tunefare plan, data set never seen", first),
        ("tunefare plan", ours),
        ("sky launch --dryrun", theirs),
    ]
    sys.stdout.write(f"{os.cpu_count()} cores, best of {ROUNDS} cold processes\n")
    sys.stdout.write(f"{'command':<38}{'wall s':>9}{'CPU s':>9}\n")
    for title, timing in rows:
        sys.stdout.write(f"{title:<38}{timing.wall_s:>9.2f}{timing.cpu_s:>9.2f}\n")
    sys.stdout.write(f"ratio of wall time, plan / dryrun: {ours.wall_s / theirs.wall_s:.3f}\n")


if __name__ == "__main__":
    main()
