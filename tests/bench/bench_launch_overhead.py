"""Time of `tunefare run` until its machine is gone beside that of `sky launch` and `sky down` of the same task.

Both start as a user starts them, in fresh processes, with SkyPilot's API server up, and alternate. The task is the one
that `tunefare run --render` prints, on the same partition of the Slurm lab of the end-to-end tests (Debian, root). The
launch is through when the training program says its first word (the time of its first event). Told as well is when
Slurm has no job any more, for who asks for a machine pays for it until then; there `tunefare run` has brought the
results home, and the other has not. Planning is not compared (a saved plan is launched), nor are pre-flight checks
(`--skip-preflight`) and what `tunefare run` does when the machine is gone already; each has a row of its own. Asserts
nothing: `python -m tests.bench.bench_launch_overhead [--rounds 3]`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.runs.records import RunRecord
from manager.runs.states import RunState
from tasks.protocol import EVENTS_FILE
from tests.e2e.slurm_lab import SlurmLab
from tests.faults.stage import read_run
from tests.support.cli import write_news, write_run_file, write_tiny_model

GOAL = 1.1
WHERE = {"clouds": ["slurm"], "accelerators": ["A100:1"]}
TRAINING = {"epochs": 20, "eval_every_steps": 100}
_BIN = Path(sys.executable).parent
_LONGEST_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One or more commands, and the machine that they had."""

    begun_s: float
    ended_s: float
    machine_from_s: float
    """First and last moment at which Slurm had a job."""
    machine_to_s: float
    printed: str
    """Standard output of all."""

    @property
    def to_gone_s(self) -> float:
        """What is compared."""
        return self.machine_to_s - self.begun_s


class Bench:
    """The lab, a folder, and the commands in it."""

    def __init__(self, lab: SlurmLab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._environment = lab.environment()
        write_run_file(
            folder, model=write_tiny_model(folder / "model"), data=write_news(folder), where=WHERE, training=TRAINING
        )

    def run(self, *arguments: str, home: str = "home") -> str:
        """What `tunefare` prints."""
        command = [str(_BIN / "tunefare"), *arguments]
        return self._call(command, {"TUNEFARE_HOME": str(self._folder / home)})

    def tunefare(self, round_number: int, *extra: str) -> tuple[Watched, RunRecord]:
        """A run in a state folder of its own, with a plan that is there."""
        home = f"home-{round_number}"
        plan = json.loads(self.run("plan", "--on", "slurm", "--json", home=home))["plan_id"]
        arguments = ("run", "--plan", plan, "--yes", "--max-usd", "5", "--requote", "continue", *extra)
        watched = self._watch([[str(_BIN / "tunefare"), *arguments]], home)
        record = read_run(self._folder / home)
        assert record is not None, "the ledger has the run"
        assert record.state is RunState.SUCCEEDED, f"the run is {record.state}"
        return watched, record

    def sky(self, round_number: int) -> Watched:
        """The same task by hand."""
        task = self._folder / f"task-{round_number}.yaml"
        task.write_text(self.run("run", "--render", "--on", "slurm", home=f"rendered-{round_number}"))
        sky, name = str(_BIN / "sky"), f"bare-{round_number}"
        commands = [[sky, "launch", "--yes", "--cluster", name, str(task)], [sky, "down", "--yes", name]]
        return self._watch(commands, f"rendered-{round_number}")

    def timed(self, *arguments: str, home: str) -> float:
        """Seconds that a command takes."""
        begun_s = time.monotonic()
        self.run(*arguments, home=home)
        return time.monotonic() - begun_s

    def _watch(self, commands: Sequence[Sequence[str]], home: str) -> Watched:
        seen: list[float] = []
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.2):
                if self._lab.squeue():
                    seen.append(time.time())

        thread = threading.Thread(target=look, name="queue", daemon=True)
        thread.start()
        begun_s = time.time()
        printed = ""
        try:
            for command in commands:
                printed += self._call(command, {"TUNEFARE_HOME": str(self._folder / home)})
        finally:
            ended_s = time.time()
            over.set()
            thread.join()
        assert self._lab.squeue() == [], "the machine is gone"
        return Watched(begun_s=begun_s, ended_s=ended_s, machine_from_s=seen[0], machine_to_s=seen[-1], printed=printed)

    def _call(self, command: Sequence[str], extra: dict[str, str]) -> str:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env={**self._environment, **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout


def first_word_s(lines: str) -> float:
    """Unix time of a run's first event; of its file, or of a log that carries them."""
    line = next(line for line in lines.splitlines() if '"seq":0,' in line)
    return float(json.loads(line[line.index("{") :])["t"])


def parts(watched: Watched, record: RunRecord) -> dict[str, float]:
    """Where the time of a run went, by the ledger's history."""
    at_s = {change.state: change.at_s for change in record.history}
    return {
        "until the launch is asked for": at_s[RunState.LAUNCHING] - watched.begun_s,
        "launch, until the job is submitted": at_s[RunState.RUNNING] - at_s[RunState.LAUNCHING],
        "set-up and task, until its end is known": at_s[RunState.TEARING_DOWN] - at_s[RunState.RUNNING],
        "results home, and the machine down": watched.machine_to_s - at_s[RunState.TEARING_DOWN],
        "evidence and report, with no machine": watched.ended_s - watched.machine_to_s,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_launch_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with SlurmLab() as lab, tempfile.TemporaryDirectory() as name:
        bench = Bench(lab, Path(name))
        plan_s = bench.timed("plan", "--on", "slurm", home="home")
        checks_s = bench.timed("preflight", "--on", "slurm", home="home")
        # SkyPilot's server starts, and the job user's packages are installed once, for both.
        bench.sky(0)
        ours: list[tuple[Watched, RunRecord]] = []
        bare: list[Watched] = []
        for number in range(1, rounds + 1):
            ours.append(bench.tunefare(number, "--skip-preflight"))
            bare.append(bench.sky(number))
            sys.stderr.write(f"round {number}: {ours[-1][0].to_gone_s:.1f} s, bare {bare[-1].to_gone_s:.1f} s\n")
        _print(ours, bare, plan_s=plan_s, checks_s=checks_s)


def _print(
    ours: Sequence[tuple[Watched, RunRecord]], bare: Sequence[Watched], *, plan_s: float, checks_s: float
) -> None:
    median = statistics.median
    told = [parts(watched, record) for watched, record in ours]
    own_s, bare_s = median(one.to_gone_s for one, _ in ours), median(one.to_gone_s for one in bare)
    had_s = [median(one.machine_to_s - one.machine_from_s for one in found) for found in ([o for o, _ in ours], bare)]
    ready_s = [
        median(first_word_s((record.run_dir / EVENTS_FILE).read_text()) - one.begun_s for one, record in ours),
        median(first_word_s(one.printed) - one.begun_s for one in bare),
    ]
    rows = [
        ("compared: start to the program's first word", None),
        ("  tunefare run --plan", ready_s[0]),
        ("  sky launch", ready_s[1]),
        ("start to machine gone", None),
        ("  tunefare run --plan", own_s),
        ("  sky launch, then sky down", bare_s),
        ("of it with a machine", None),
        ("  tunefare run --plan", had_s[0]),
        ("  sky launch, then sky down", had_s[1]),
        ("parts of tunefare run", None),
        *((f"  {title}", median(one[title] for one in told)) for title in told[0]),
        ("not compared", None),
        ("  tunefare plan", plan_s),
        ("  tunefare preflight, planning included", checks_s),
    ]
    sys.stdout.write(f"medians of {len(ours)} rounds on a real Slurm\n")
    for title, seconds in rows:
        sys.stdout.write(f"{title:<44}{'' if seconds is None else f'{seconds:9.1f} s'}".rstrip() + "\n")
    sys.stdout.write(
        f"ratio of launches {ready_s[0] / ready_s[1]:.3f}, the goal is at most {GOAL}; until the machine is gone, with"
        f" results home, {own_s / bare_s:.3f}; with a machine {had_s[0] / had_s[1]:.3f}\n"
    )


if __name__ == "__main__":
    main()
