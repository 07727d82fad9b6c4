"""Each of the three guards alone, with the other two off, ends a local run that would break its cap, in time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cli import Cli, trainers_of, wait_for, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TRAINING = {"epochs": 20, "eval_every_steps": 100, "checkpoint_every_steps": 20}
SLOW_STEP_S = 0.6
"""The plan knows nothing of it: 300 steps of these take three minutes, and a plan within the cap breaks it."""
SLOW = f"""
import importlib.machinery, sys, time

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name == "tasks.step" else None
        if spec is not None:
            load = spec.loader.exec_module
            def exec_module(module):
                load(module)
                update = module.update
                def slow(*arguments, **more):
                    time.sleep({SLOW_STEP_S})
                    return update(*arguments, **more)
                module.update = slow
            spec.loader.exec_module = exec_module
        return spec

if "tasks.train" in sys.orig_argv:
    sys.meta_path.insert(0, Finder)
"""
PRICE_USD_PER_HOUR = 36.0
CAP_S = 90.0
CAP_USD = CAP_S * PRICE_USD_PER_HOUR / 3600
HEARTBEAT_S = 5.0
RUN = ("run", "--on", "local", "--yes", "--max-usd", f"{CAP_USD:.2f}", "--requote", "continue")
SETTINGS = {
    "TUNEFARE_LOCAL_PRICE_USD_PER_HOUR": f"{PRICE_USD_PER_HOUR}",
    "TUNEFARE_HEARTBEAT_S": f"{HEARTBEAT_S:.0f}",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path, environment={**os.environ, **SETTINGS})
    yield commands
    commands.end()
    left = [*trainers_of(tmp_path), *timers_of(tmp_path)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def timers_of(folder: Path) -> list[int]:
    """Pids of living dead-man timers of runs in a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "watch" in words and any(str(folder) in word for word in words):
            found.append(process.pid)
    return found


def write_job(folder: Path, model: Path) -> None:
    write_run_file(folder, model=model, data=write_news(folder), training=TRAINING)
    (folder / "slow").mkdir()
    (folder / "slow" / "sitecustomize.py").write_text(SLOW)


def slow(folder: Path) -> str:
    """Module path by which training takes longer than anybody planned."""
    return f"{folder / 'slow'}{os.pathsep}{Path(__file__).parents[2]}"


def only_run(cli: Cli) -> dict[str, Any]:
    (run,) = cli.json_lines("runs", "--json")
    return run


def run_dir_of(cli: Cli) -> Path:
    (folder,) = (cli.folder / "home" / "runs").iterdir()
    return folder


def wait_for_training(cli: Cli) -> None:
    """Until the trainer has written a train event."""

    def trains() -> bool:
        files = (cli.folder / "home" / "runs").glob("*/events.jsonl")
        return any('"type":"train"' in file.read_text() for file in files)

    wait_for(trains, what="the first training step")


def last_event(cli: Cli) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((run_dir_of(cli) / "events.jsonl").read_text().splitlines()[-1])
    return event


@pytest.mark.parametrize("guard", ["machine", "trainer", "home"])
def test_each_guard_alone_keeps_the_cap(cli: Cli, tmp_path: Path, model: Path, guard: str) -> None:
    write_job(tmp_path, model)
    others = ",".join(name for name in ("machine", "trainer", "home") if name != guard)
    done = cli.run(*RUN, PYTHONPATH=slow(tmp_path), TUNEFARE_WITHOUT_GUARDS=others)
    assert done.code == 4, done.stderr
    run = only_run(cli)
    billed_s = run["billing_ended_at_s"] - run["billing_started_at_s"]
    assert billed_s <= CAP_S + HEARTBEAT_S
    # The one at home sees from the first steps that the run will break its cap; the timer sees the cap alone.
    assert billed_s > (CAP_S / 2 if guard == "machine" else 0)
    assert run["evidence"][-1]["confirmed"] is True
    assert last_event(cli)["data"]["steps"] > 0


@pytest.mark.slow
def test_the_timer_ends_a_run_whose_client_was_killed(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_job(tmp_path, model)
    running = cli.start(*RUN, PYTHONPATH=slow(tmp_path), TUNEFARE_WITHOUT_GUARDS="trainer")
    wait_for(lambda: bool(trainers_of(tmp_path)), what="the trainer")
    started_at_s = only_run(cli)["billing_started_at_s"]
    running.process.kill()
    running.finish()
    wait_for(lambda: not trainers_of(tmp_path), what="the trainer's end", timeout_s=CAP_S + 30)
    assert time.time() - started_at_s <= CAP_S + HEARTBEAT_S
    wait_for(lambda: not timers_of(tmp_path), what="the timer's own end", timeout_s=30)
    assert cli.run("reconcile").code in (0, 4)
    assert only_run(cli)["evidence"][-1]["confirmed"] is True


@pytest.mark.slow
def test_the_timer_ends_a_trainer_that_was_frozen(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_job(tmp_path, model)
    running = cli.start(*RUN, PYTHONPATH=slow(tmp_path), TUNEFARE_WITHOUT_GUARDS="trainer,home")
    wait_for_training(cli)
    os.kill(int((run_dir_of(cli) / "pid").read_text().split()[0]), signal.SIGSTOP)
    running.finish()
    run = only_run(cli)
    assert run["billing_ended_at_s"] - run["billing_started_at_s"] <= CAP_S + HEARTBEAT_S
    assert "SIGKILL to the trainer" in (run_dir_of(cli) / "deadman.log").read_text()
