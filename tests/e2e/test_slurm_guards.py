"""The guards through SkyPilot on a real Slurm: each alone keeps the longest duration, the timer also without us."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.slurm_lab import SlurmLab
from tests.support.cli import Cli, wait_for, write_news, write_run_file

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(900)]

LIMIT_S = 300.0
HEARTBEAT_S = 10.0
RUN = ("run", "--on", "slurm", "--yes", "--max-usd", "5", "--requote", "continue")
LONG = {"epochs": 9000, "eval_every_steps": 5000, "checkpoint_every_steps": 2000}
SETTINGS = {"TUNEFARE_LONGEST_RUN_HOURS": f"{LIMIT_S / 3600}", "TUNEFARE_HEARTBEAT_S": f"{HEARTBEAT_S:.0f}"}


@pytest.fixture
def cli(tmp_path: Path, lab: SlurmLab, model: Path) -> Iterator[Cli]:
    where = {"clouds": ["slurm"], "accelerators": ["A100"]}
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), where=where, training=LONG)
    commands = Cli(folder=tmp_path, environment={**lab.environment(), **SETTINGS})
    yield commands
    commands.end()
    assert lab.squeue() == []


def only_run(cli: Cli) -> dict[str, Any]:
    (run,) = cli.json_lines("runs", "--json")
    return run


@pytest.mark.slow
def test_the_timer_ends_the_machine_when_nothing_else_is_left(cli: Cli, lab: SlurmLab) -> None:
    running = cli.start(*RUN, TUNEFARE_WITHOUT_GUARDS="trainer,home")

    def armed() -> list[Path]:
        return list(lab.root.glob("jobhome/.sky_clusters/*/tunefare-run/*/deadman.log"))

    wait_for(lambda: bool(armed()), what="the timer on the machine", timeout_s=600)
    (job,) = (cli.folder / "home" / "runs").glob("*/upload/job.json")
    started_at_s = json.loads(job.read_text())["guard"]["billing_started_s"]
    running.process.kill()
    running.finish()
    # SkyPilot's own server is gone too: nobody but the timer is left.
    lab.api_stop()
    wait_for(lambda: not lab.squeue(), what="the end of the Slurm job", timeout_s=LIMIT_S + 60)
    assert time.time() - started_at_s <= LIMIT_S + HEARTBEAT_S
    done = cli.run("reconcile", timeout_s=400)
    assert "Traceback" not in done.stderr
    assert only_run(cli)["evidence"][-1]["confirmed"] is True


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["trainer", "home"])
def test_each_guard_alone_keeps_the_longest_duration(cli: Cli, guard: str) -> None:
    others = ",".join(name for name in ("machine", "trainer", "home") if name != guard)
    done = cli.run(*RUN, TUNEFARE_WITHOUT_GUARDS=others, timeout_s=600)
    assert done.code == 4, done.stderr
    run = only_run(cli)
    assert run["billing_ended_at_s"] - run["billing_started_at_s"] <= LIMIT_S + HEARTBEAT_S
    assert run["evidence"][-1]["confirmed"] is True
