"""A run through SkyPilot on an emulated AWS: the cheapest machine, events while it runs, its end seen in the API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.aws_lab import AwsLab
from tests.e2e.aws_lab.catalogs import price_usd_per_hour
from tests.support.aws_stage import (
    CHECKED_RUN,
    WHILE_IT_RUNS,
    assert_cost_is_price_times_time,
    event_numbers,
    only_run,
    wait_for_training,
    write_aws_job,
)
from tests.support.cli import Cli

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.timeout(1800)]


def test_the_cheapest_machine_is_rented_and_given_back(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=WHILE_IT_RUNS)
    begun = len(aws.api_log())
    running = aws_cli.start(*CHECKED_RUN, "--json")
    wait_for_training(aws_cli)
    (instance,) = aws.instances()
    assert instance.tags["tunefare-run"] == only_run(aws_cli)["run_id"]
    done = running.finish(timeout_s=900)
    assert done.code == 0, done.stderr

    run = only_run(aws_cli)
    calls = aws.api_log()[begun:]
    (rented,) = [call for call in calls if call.action == "RunInstances"]
    assert (rented.instance_type, rented.region, rented.spot, rented.fault) == ("g6.xlarge", "us-east-1", False, None)
    ended = [call for call in calls if call.action == "TerminateInstances"]
    assert instance.instance_id in ended[-1].instance_ids
    assert aws.instances() == []

    assert run["state"] == "succeeded"
    assert (run["offer"]["instance_type"], run["offer"]["region"]) == ("g6.xlarge", "us-east-1")
    assert_cost_is_price_times_time(run, price_usd_per_hour("g6.xlarge", "us-east-1"))
    assert run["evidence"][-1]["confirmed"] is True
    assert "aws" in run["evidence"][-1]["answer"]
    numbers = event_numbers(aws_cli)
    assert numbers == list(range(len(numbers)))
    report = json.loads(done.stdout.splitlines()[-1])["report"]
    assert report["scores"]["accuracy"]["tuned"] > 0.9
    assert any((tmp_path / "home" / "runs" / run["run_id"]).rglob("*.safetensors"))
