"""The main job through SkyPilot on a real Slurm: the cheapest partition, the next one, and every bad end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.slurm_lab import SlurmLab
from tests.e2e.slurm_lab.jobs import QueuedJob
from tests.support.aws_stage import (
    WHILE_IT_RUNS,
    assert_cost_is_price_times_time,
    event_numbers,
    only_run,
    wait_for_training,
)
from tests.support.cli import Cli, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(1500)]

A100B_USD_PER_HOUR = Decimal("1.99")
A100_USD_PER_HOUR = Decimal("3.67")
LONG = {"epochs": 2000, "eval_every_steps": 200, "checkpoint_every_steps": 20}
RUN = ("run", "--on", "slurm", "--yes", "--max-usd", "5")


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


def write_job(folder: Path, model: Path, *, max_nodes: int = 1, **changes: object) -> None:
    """A run file that asks for one A100 of whichever partition is cheapest."""
    where = {"clouds": ["slurm"], "accelerators": ["A100:1"], "max_nodes": max_nodes}
    write_run_file(folder, model=model, data=write_news(folder), where=where, **changes)


def training_job(lab: SlurmLab) -> QueuedJob:
    """The one Slurm job there is, of the run that trains."""
    (job,) = lab.squeue()
    return job


def choose(cli: Cli, *, partition: str, num_nodes: int) -> str:
    """A saved plan as the screens leave it where a user takes another offer than the cheapest; its id."""
    (file,) = (cli.folder / "home" / "plans").glob("*.json")
    plan = json.loads(file.read_text())
    wanted = (partition, 1.0, num_nodes)
    keys = [(one["instance_type"], one["accelerator_count"], one["num_nodes"]) for one in plan["offers"]]
    plan["chosen"] = keys.index(wanted)
    file.write_text(json.dumps(plan))
    return str(plan["plan_id"])


def test_the_cheapest_partition_is_taken_and_metrics_arrive_while_it_runs(
    cli: Cli, tmp_path: Path, model: Path
) -> None:
    write_job(tmp_path, model, training=WHILE_IT_RUNS)
    running = cli.start(*RUN, "--json")
    wait_for_training(cli)
    done = running.finish(timeout_s=900)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_failing_task_ends_with_its_reason_and_no_machine(cli: Cli, tmp_path: Path) -> None:
    poison = write_tiny_model(tmp_path / "poisoned", not_a_number=True)
    write_job(tmp_path, poison)
    # The check of one step here would refuse it before anything costs.
    done = cli.run(*RUN, "--skip-preflight", timeout_s=600)
    assert done.code == 1, done.stderr
    assert "not finite" in done.stderr.lower()
    assert only_run(cli)["state"] == "failed"


@pytest.mark.slow
def test_a_failing_setup_ends_with_its_reason_and_no_machine(
    cli: Cli, tmp_path: Path, model: Path, lab: SlurmLab
) -> None:
    write_job(tmp_path, model)
    with lab.site_variable("TUNEFARE_PYTHON", "/no/such/python"):
        done = cli.run(*RUN, timeout_s=600)
    assert done.code == 1, done.stderr
    assert "could not be set up" in done.stderr.lower()
    assert only_run(cli)["state"] == "failed"


@pytest.mark.slow
def test_a_killed_client_is_adopted(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_job(tmp_path, model, training=WHILE_IT_RUNS)
    running = cli.start(*RUN)
    wait_for_training(cli)
    running.process.kill()
    running.finish()
    done = cli.run("reconcile", timeout_s=900)
    assert done.code == 0, done.stderr
    run = only_run(cli)
    assert run["state"] == "succeeded"
    numbers = event_numbers(cli)
    assert numbers == list(range(len(numbers)))
    assert_cost_is_price_times_time(run, A100B_USD_PER_HOUR)


@pytest.mark.slow
def test_stop_saves_a_checkpoint_and_takes_the_machine_down(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_job(tmp_path, model, training=LONG)
    running = cli.start(*RUN)
    wait_for_training(cli)
    stopped = cli.run("stop", only_run(cli)["run_id"], timeout_s=600)
    assert stopped.code == 0, stopped.stderr
    running.finish(timeout_s=600)
    run = only_run(cli)
    assert run["state"] == "stopped"
    assert run["evidence"][-1]["confirmed"] is True


def test_two_nodes_train_together(cli: Cli, tmp_path: Path, model: Path, lab: SlurmLab) -> None:
    write_job(tmp_path, model, max_nodes=2, training={"epochs": 120, "eval_every_steps": 300})
    planned = cli.run("plan", "--json")
    assert planned.code == 0, planned.stderr
    plan_id = choose(cli, partition="a100", num_nodes=2)
    running = cli.start("run", "--plan", plan_id, "--yes", "--max-usd", "5", "--requote", "continue", "--json")
    wait_for_training(cli)
    job = training_job(lab)
    assert (job.partition, job.nodes) == ("a100", 2)
    told = cli.json_lines("logs", only_run(cli)["run_id"], "--events")
    assert [event["data"]["device_count"] for event in told if event["type"] == "started"] == [2]

    done = running.finish(timeout_s=900)
    assert done.code == 0, done.stderr
    run = only_run(cli)
    assert run["state"] == "succeeded"
    assert run["offer"]["num_nodes"] == 2
    assert_cost_is_price_times_time(run, 2 * A100_USD_PER_HOUR)
    numbers = event_numbers(cli)
    assert numbers == list(range(len(numbers)))
    report = json.loads(done.stdout.splitlines()[-1])["report"]
    assert report["scores"]["accuracy"]["tuned"] > 0.9
    assert any((tmp_path / "home" / "runs" / run["run_id"]).rglob("*.safetensors"))


def test_a_job_that_is_killed_from_outside_is_told_and_billed_to_its_last_sign_of_life(
    cli: Cli, tmp_path: Path, model: Path, lab: SlurmLab
) -> None:
    write_job(tmp_path, model, training=LONG)
    running = cli.start(*RUN, "--skip-preflight", "--requote", "continue")
    wait_for_training(cli)
    lab.cancel(training_job(lab).job_id)
    killed_at_s = time.time()
    done = running.finish(timeout_s=900)
    assert done.code == 1, done.stderr
    assert "gone" in done.stderr
    run = only_run(cli)
    assert run["state"] == "failed"
    assert run["evidence"][-1]["confirmed"] is True
    assert_cost_is_price_times_time(run, A100B_USD_PER_HOUR)
    # SkyPilot's queue may be asked once more before anybody knows.
    assert run["billing_ended_at_s"] <= killed_at_s + 60
    numbers = event_numbers(cli)
    assert numbers == list(range(len(numbers)))


def test_a_queue_that_is_full_everywhere_fits_nothing(cli: Cli, tmp_path: Path, model: Path, lab: SlurmLab) -> None:
    write_job(tmp_path, model)
    fillers = {lab.fill_partition(name) for name in ("a100b", "a100")}
    try:
        done = cli.run(*RUN, "--skip-preflight", timeout_s=600)
        assert {job.job_id for job in lab.squeue()} == fillers
    finally:
        for name in ("a100b", "a100"):
            lab.free_partition(name)
    assert done.code == 3, done.stderr
    run = only_run(cli)
    assert run["state"] == "no_capacity"
    assert run["charges"] == []
    assert "a100b" in done.stderr
