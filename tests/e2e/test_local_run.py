"""The main job on this machine: plan, run, watch, tear down, report, and every way in which it can be cut short."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, trainers_of, wait_for, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LONG = {"epochs": 2000, "eval_every_steps": 50, "checkpoint_every_steps": 5}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path)
    yield commands
    commands.end()
    left = trainers_of(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def states(cli: Cli) -> list[str]:
    return [run["state"] for run in cli.json_lines("runs", "--json")]


def wait_for_training(cli: Cli, *, runs: int = 1) -> None:
    """Until the trainers of all runs have written a train event."""

    def trains() -> bool:
        files = list((cli.folder / "home" / "runs").glob("*/events.jsonl"))
        return sum('"type":"train"' in file.read_text() for file in files) >= runs

    wait_for(trains, what="the first training step")


def ledger_events(cli: Cli) -> list[int]:
    """Sequence numbers of all events in the ledger of a folder with one run, in order."""
    with sqlite3.connect(cli.folder / "home" / "ledger.sqlite3") as ledger:
        return [row[0] for row in ledger.execute("SELECT seq FROM events ORDER BY seq")]


def file_events(cli: Cli) -> list[int]:
    """The same from the file that the trainer wrote."""
    (file,) = (cli.folder / "home" / "runs").glob("*/events.jsonl")
    return [json.loads(line)["seq"] for line in file.read_text().splitlines()]


def only_run(cli: Cli) -> dict[str, Any]:
    (run,) = cli.json_lines("runs", "--json")
    return run


@pytest.mark.parametrize("method", ["full", "lora", "frozen"])
def test_from_run_file_to_report(cli: Cli, tmp_path: Path, model: Path, method: str) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), method=method, training={"epochs": 30})
    planned = cli.run("plan", "--json")
    assert planned.code == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert plan["schema"] == 1
    assert plan["profile"]["steps"] > 0

    done = cli.run("run", "--on", "local", "--yes", "--max-usd", "1", "--json", "--html", "report.html")
    assert done.code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["state"] for line in lines if line["type"] == "state"] == [
        "planned",
        "launching",
        "running",
        "tearing_down",
        "succeeded",
    ]
    assert [line["confirmed"] for line in lines if line["type"] == "evidence"] == [True]
    report = lines[-1]["report"]
    assert lines[-1]["type"] == "report"

    run = only_run(cli)
    billed_s = run["billing_ended_at_s"] - run["billing_started_at_s"]
    expected = Decimal("0.10") * Decimal(str(billed_s)) / 3600
    assert abs(Decimal(str(run["cost_usd"])) - expected) <= Decimal("0.10") / 3600
    assert ledger_events(cli) == file_events(cli) == list(range(len(file_events(cli))))
    if method == "full":
        assert report["scores"]["accuracy"]["tuned"] > 0.9
    assert (tmp_path / "report.html").read_text().lower().startswith("<!doctype html>")
    shown = cli.run("report")
    assert run["run_id"] in shown.stdout
    csv = cli.run("report", "--csv", "runs.csv")
    assert csv.code == 0
    assert run["run_id"] in (tmp_path / "runs.csv").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_training_ends_the_trainer_and_keeps_what_was_learned(
    cli: Cli, tmp_path: Path, model: Path, number: signal.Signals
) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=LONG)
    running = cli.start("run", "--on", "local", "--yes", "--max-usd", "1")
    wait_for_training(cli)
    os.killpg(running.process.pid, number)
    done = running.finish()
    assert done.code == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert states(cli) == ["interrupted"]
    assert ledger_events(cli) == file_events(cli)


@pytest.mark.parametrize("delay", ["at once", "while planning", "while launching"])
def test_ctrl_c_before_training(cli: Cli, tmp_path: Path, model: Path, delay: str) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=LONG)
    running = cli.start("run", "--on", "local", "--yes", "--max-usd", "1")
    if delay == "while planning":
        wait_for(lambda: (tmp_path / "home").exists(), what="the home folder")
    if delay == "while launching":
        wait_for(lambda: any((tmp_path / "home" / "runs").glob("*/job.json")), what="the job file")
    running.process.send_signal(signal.SIGINT)
    done = running.finish()
    # A signal that hits the interpreter before it has read a line of ours ends it in its own words.
    is_interpreters = "init_import_site" in done.stderr and delay == "at once"
    assert is_interpreters or done.code in (130, -signal.SIGINT), done.stderr
    assert is_interpreters or "Traceback" not in done.stderr or done.code == -signal.SIGINT
    assert all(state == "interrupted" for state in states(cli))


def test_stop_from_another_terminal(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=LONG)
    running = cli.start("run", "--on", "local", "--yes", "--max-usd", "1")
    wait_for_training(cli)
    stopped = cli.run("stop", only_run(cli)["run_id"])
    assert stopped.code == 0, stopped.stderr
    running.finish()
    assert states(cli) == ["stopped"]
    assert '"outcome":"stopped"' in next((tmp_path / "home" / "runs").glob("*/events.jsonl")).read_text()


@pytest.mark.parametrize("end", [True, False])
def test_a_killed_client_is_reconciled(cli: Cli, tmp_path: Path, model: Path, end: bool) -> None:
    training = LONG if end else {"epochs": 40, "checkpoint_every_steps": 5}
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=training)
    running = cli.start("run", "--on", "local", "--yes", "--max-usd", "1")
    wait_for_training(cli)
    running.process.kill()
    running.finish()
    assert states(cli) == ["running"]
    done = cli.run("reconcile", *(["--end"] if end else []))
    assert done.code == 0, done.stderr
    assert states(cli) == (["interrupted"] if end else ["succeeded"])
    assert ledger_events(cli) == file_events(cli) == list(range(len(file_events(cli))))
    assert cli.run("reconcile").code == 0


def test_two_runs_at_once(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path))
    both = [cli.start("run", "--on", "local", "--yes", "--max-usd", "1") for _ in range(2)]
    assert [running.finish().code for running in both] == [0, 0]
    runs = cli.json_lines("runs", "--json")
    assert [run["state"] for run in runs] == ["succeeded", "succeeded"]
    assert len({run["run_id"] for run in runs}) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_fails_the_run_and_keeps_the_ledger(cli: Cli, tmp_path: Path, model: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_run_file(tmp_path, model=model, data=write_news(tmp_path), training=LONG)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(home)], check=True)
    try:
        refused = cli.run("run", "--on", "local", "--yes", "--max-usd", "1")
        assert refused.code == 2, refused.stderr
        assert "disk" in refused.stderr
        assert states(cli) == []
        done = cli.run("run", "--on", "local", "--yes", "--max-usd", "1", "--skip-preflight")
        assert done.code == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "disk" in done.stderr.lower() or "space" in done.stderr.lower()
        for filler in home.rglob("checkpoints"):
            subprocess.run(["rm", "-rf", str(filler)], check=True)
        assert cli.run("reconcile").code == 0
        assert states(cli) == ["failed"]
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only disk needs root")
def test_a_read_only_home(cli: Cli, tmp_path: Path, model: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_run_file(tmp_path, model=model, data=write_news(tmp_path))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(home)], check=True)
    try:
        done = cli.run("plan")
    finally:
        subprocess.run(["umount", str(home)], check=True)
    assert done.code == 1
    assert "read-only" in done.stderr.lower()
    assert "hint:" in done.stderr


def test_a_plan_over_the_cap_starts_nothing(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_run_file(tmp_path, model=model, data=write_news(tmp_path))
    done = cli.run("run", "--on", "local", "--yes", "--max-usd", "0.0001", TUNEFARE_LOCAL_PRICE_USD_PER_HOUR="1000")
    assert done.code == 4, done.stderr
    assert states(cli) == []
