"""The main job through SkyPilot on a real Slurm: the cheapest partition, the next one, and every bad end."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.slurm_lab import SlurmLab
from tests.support.cli import Cli, wait_for, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(900)]

A100B_USD_PER_HOUR = Decimal("1.99")
A100_USD_PER_HOUR = Decimal("3.67")
LONG = {"epochs": 2000, "eval_every_steps": 200, "checkpoint_every_steps": 20}
RUN = ("run", "--on", "slurm", "--yes", "--max-usd", "5")


@pytest.fixture(scope="module")
def lab() -> Iterator[SlurmLab]:
    if importlib.util.find_spec("sky") is None:
        pytest.skip("needs the [sky] extra")
    with SlurmLab() as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def cli(tmp_path: Path, lab: SlurmLab) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path, environment=lab.environment())
    yield commands
    commands.end()
    assert lab.squeue() == []
    assert clusters(lab) == []


def clusters(lab: SlurmLab) -> list[str]:
    """Names of SkyPilot's clusters after a forced refresh."""
    code = (
        "import json, sky; found = sky.get(sky.status(refresh=sky.StatusRefreshMode.FORCE)); "
        "print(json.dumps([cluster['name'] for cluster in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=lab.environment(),
        cwd=lab.client_home,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


def write_job(folder: Path, model: Path, **changes: object) -> None:
    """A run file that asks for one A100 of whichever partition is cheapest."""
    where = {"clouds": ["slurm"], "accelerators": ["A100"]}
    write_run_file(folder, model=model, data=write_news(folder), where=where, **changes)


def only_run(cli: Cli) -> dict[str, Any]:
    (run,) = cli.json_lines("runs", "--json")
    return run


def assert_cost_is_price_times_time(run: dict[str, Any], price_usd_per_hour: Decimal) -> None:
    """The ledger bills by the second: at most one second's price apart."""
    billed_s = Decimal(str(run["billing_ended_at_s"])) - Decimal(str(run["billing_started_at_s"]))
    expected = price_usd_per_hour * billed_s / 3600
    assert abs(Decimal(str(run["cost_usd"])) - expected) <= price_usd_per_hour / 3600


def wait_for_training(cli: Cli) -> None:
    """Until the ledger at home holds a train event of the run, while the job is still running."""

    def trains() -> bool:
        runs = cli.json_lines("runs", "--json")
        return bool(runs) and runs[0]["state"] == "running" and "train" in runs[0]["event_counts"]

    wait_for(trains, what="a training step in the ledger", timeout_s=400)


def event_numbers(cli: Cli) -> list[int]:
    """Sequence numbers of the events in the ledger, in the order in which they are told."""
    return [event["seq"] for event in cli.json_lines("logs", only_run(cli)["run_id"], "--events")]


def test_the_cheapest_partition_is_taken_and_metrics_arrive_while_it_runs(
    cli: Cli, tmp_path: Path, model: Path
) -> None:
    write_job(tmp_path, model, training={"epochs": 120, "eval_every_steps": 300})
    running = cli.start(*RUN, "--json")
    wait_for_training(cli)
    done = running.finish(timeout_s=400)
    assert done.code == 0, done.stderr
    run = only_run(cli)
    assert run["state"] == "succeeded"
    assert run["offer"]["instance_type"] == "a100b"
    assert_cost_is_price_times_time(run, A100B_USD_PER_HOUR)
    numbers = event_numbers(cli)
    assert numbers == list(range(len(numbers)))
    report = json.loads(done.stdout.splitlines()[-1])["report"]
    assert report["scores"]["accuracy"]["tuned"] > 0.9
    assert any((tmp_path / "home" / "runs" / run["run_id"]).rglob("*.safetensors"))


def test_a_full_partition_sends_the_job_to_the_next_price(cli: Cli, tmp_path: Path, model: Path, lab: SlurmLab) -> None:
    write_job(tmp_path, model)
    lab.fill_partition("a100b")
    try:
        done = cli.run(*RUN, timeout_s=600)
    finally:
        lab.free_partition("a100b")
    assert done.code == 0, done.stderr
    run = only_run(cli)
    assert run["offer"]["instance_type"] == "a100"
    assert len(run["failed_attempts"]) == 1
    assert_cost_is_price_times_time(run, A100_USD_PER_HOUR)


def test_a_failing_task_ends_with_its_reason_and_no_machine(cli: Cli, tmp_path: Path) -> None:
    poison = write_tiny_model(tmp_path / "poisoned", not_a_number=True)
    write_job(tmp_path, poison)
    done = cli.run(*RUN, timeout_s=600)
    assert done.code == 1, done.stderr
    assert "not finite" in done.stderr.lower()
    assert only_run(cli)["state"] == "failed"


def test_a_failing_setup_ends_with_its_reason_and_no_machine(
    cli: Cli, tmp_path: Path, model: Path, lab: SlurmLab
) -> None:
    write_job(tmp_path, model)
    with lab.site_variable("TUNEFARE_PYTHON", "/no/such/python"):
        done = cli.run(*RUN, timeout_s=600)
    assert done.code == 1, done.stderr
    assert "could not be set up" in done.stderr.lower()
    assert only_run(cli)["state"] == "failed"


def test_a_killed_client_is_adopted(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_job(tmp_path, model, training={"epochs": 300, "eval_every_steps": 1000})
    running = cli.start(*RUN)
    wait_for_training(cli)
    running.process.kill()
    running.finish()
    done = cli.run("reconcile", timeout_s=500)
    assert done.code == 0, done.stderr
    run = only_run(cli)
    assert run["state"] == "succeeded"
    numbers = event_numbers(cli)
    assert numbers == list(range(len(numbers)))
    assert_cost_is_price_times_time(run, A100B_USD_PER_HOUR)


def test_stop_saves_a_checkpoint_and_takes_the_machine_down(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_job(tmp_path, model, training=LONG)
    running = cli.start(*RUN)
    wait_for_training(cli)
    stopped = cli.run("stop", only_run(cli)["run_id"], timeout_s=300)
    assert stopped.code == 0, stopped.stderr
    running.finish(timeout_s=300)
    run = only_run(cli)
    assert run["state"] == "stopped"
    assert run["evidence"][-1]["confirmed"] is True
