"""Runs that go on without a front end: their terminal is closed, they are followed, ended at once, ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cli import Cli, trainers_of, wait_for, write_news, write_run_file, write_tiny_model
from tests.support.connections import python_path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LONG = {"epochs": 2000, "eval_every_steps": 50, "checkpoint_every_steps": 5}
DETACH = ("run", "--on", "local", "--yes", "--max-usd", "1", "--detach")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path)
    yield commands
    commands.end()
    left = [*trainers_of(tmp_path), *(process.pid for process in supervisors_of(tmp_path))]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def supervisors_of(folder: Path) -> list[psutil.Process]:
    """Processes that supervise a run in this folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "manager.service.supervisor" in (process.info["cmdline"] or [])
        and any(str(folder) in word for word in process.info["cmdline"])
    ]


def detached(cli: Cli) -> str:
    """Start a run that outlives its command; its id, once it trains."""
    done = cli.run(*DETACH, "--json")
    assert done.code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["schema"], told["type"]) == (1, "detached")
    wait_for_training(cli, told["run_id"])
    return str(told["run_id"])


def wait_for_training(cli: Cli, run_id: str) -> None:
    file = cli.folder / "home" / "runs" / run_id / "events.jsonl"
    wait_for(lambda: file.exists() and '"type":"train"' in file.read_text(), what="the first training step")


def state(cli: Cli, run_id: str) -> str:
    return str(json.loads(cli.run("show", run_id, "--json").stdout)["state"])


def test_a_run_outlives_the_terminal_that_started_it(cli: Cli, tmp_path: Path, model: Path) -> None:
    training = {"epochs": 60, "eval_every_steps": 200}
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=training)
    command = " ".join([sys.executable, "-m", "manager.cli", *DETACH])
    environment = {
        "TUNEFARE_HOME": str(tmp_path / "home"),
        "PYTHONPATH": python_path(),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    # The shell of a terminal: leader of the session and the group that a hang-up is sent to.
    with (tmp_path / "said").open("w") as said:
        shell = subprocess.Popen(
            ["sh", "-c", f"{command}; exec sleep 600"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    wait_for(lambda: any((tmp_path / "home" / "runs").glob("*/events.jsonl")), what="the run's first event")
    os.killpg(shell.pid, signal.SIGHUP)
    assert shell.wait(30) == -signal.SIGHUP
    (run_id,) = (folder.name for folder in (tmp_path / "home" / "runs").iterdir())
    (supervisor,) = supervisors_of(tmp_path)
    supervisor.send_signal(signal.SIGHUP)
    assert os.getsid(supervisor.pid) == supervisor.pid
    assert state(cli, run_id) == "running"

    followed = cli.run("attach", run_id, "--html", "report.html")
    assert followed.code == 0, followed.stderr
    assert "[succeeded]" in followed.stderr
    assert "confirmed gone" in followed.stderr
    assert run_id in followed.stdout
    assert (tmp_path / "report.html").exists()
    supervisor.wait(30)
    assert json.loads((tmp_path / "home" / "runs" / run_id / "supervisor-end.json").read_text())["exit_code"] == 0
    told = [json.loads(line) for line in cli.run("attach", run_id, "--json").stdout.splitlines()]
    assert (told[0]["type"], told[-1]["type"]) == ("plan", "report")
    events = (tmp_path / "home" / "runs" / run_id / "events.jsonl").read_text().splitlines()
    assert [line["seq"] for line in told if "seq" in line] == list(range(len(events)))


def test_ctrl_c_leaves_the_run_that_is_followed_alone_and_stop_now_ends_it(
    cli: Cli, tmp_path: Path, model: Path
) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=LONG)
    run_id = detached(cli)
    following = cli.start("attach", run_id)
    wait_for(lambda: "[running]" in (following.place / "err").read_text(), what="the state of the run")
    following.process.send_signal(signal.SIGINT)
    left = following.finish()
    assert left.code == 130
    assert f"no longer following {run_id}, which goes on" in left.stderr
    assert state(cli, run_id) == "running"

    stopped = cli.run("stop", "--now", run_id)
    assert stopped.code == 0, stopped.stderr
    assert trainers_of(tmp_path) == []
    record = json.loads(cli.run("show", run_id, "--json").stdout)
    assert [change["state"] for change in record["history"]][-3:] == ["running", "tearing_down", "stopped"]
    assert record["evidence"][-1]["confirmed"]
    assert cli.run("attach", run_id).code == 130
    wait_for(lambda: not supervisors_of(tmp_path), what="the end of the supervisor")


def test_panic_ends_what_is_supervised_and_what_is_not(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=LONG)
    runs = [detached(cli), detached(cli)]
    (dead,) = (one for one in supervisors_of(tmp_path) if any(runs[0] in word for word in one.cmdline()))
    dead.kill()
    dead.wait(30)
    refused = cli.run("panic")
    assert refused.code == 2
    assert "hint: tunefare panic --yes" in refused.stderr
    assert [run for run in runs if trainers_of(tmp_path / "home" / "runs" / run)] == runs

    done = cli.run("panic", "--yes", "--json")
    assert done.code == 0, done.stderr
    assert "2 runs may be billed: $0.20/h" in done.stderr
    report = json.loads(done.stdout)
    assert {run["run_id"]: (run["gone"], run["state"]) for run in report["runs"]} == dict.fromkeys(
        runs, (True, "stopped")
    )
    assert trainers_of(tmp_path) == []
    wait_for(lambda: not supervisors_of(tmp_path), what="the end of the supervisor")
    again = cli.run("panic", "--yes")
    assert (again.code, again.stdout) == (0, "")
    assert "nothing to end" in again.stderr
