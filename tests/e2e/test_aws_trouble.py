"""Trouble with AWS while a run is under way: the run and its bill come to an end that is true and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.aws_lab import AwsLab
from tests.e2e.aws_lab.catalogs import price_usd_per_hour
from tests.support.aws_stage import (
    LONG,
    RUN,
    WHILE_IT_RUNS,
    assert_cost_is_price_times_time,
    event_numbers,
    only_run,
    wait_for_training,
    write_aws_job,
)
from tests.support.cli import Cli, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.slow, pytest.mark.timeout(2400)]

PRICE = price_usd_per_hour("g6.xlarge", "us-east-1")


def test_a_machine_that_is_terminated_from_outside_is_billed_to_its_last_sign_of_life(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=LONG)
    running = aws_cli.start(*RUN)
    wait_for_training(aws_cli)
    (instance,) = aws.instances()
    aws.terminate(instance.instance_id)
    done = running.finish(timeout_s=900)
    assert done.code == 1, done.stderr
    assert "gone" in done.stderr

    run = only_run(aws_cli)
    assert run["state"] == "failed"
    assert run["evidence"][-1]["confirmed"] is True
    assert_cost_is_price_times_time(run, PRICE)
    numbers = event_numbers(aws_cli)
    assert numbers == list(range(len(numbers)))


def test_a_teardown_that_aws_does_not_confirm_is_loud_and_reconciled_later(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=WHILE_IT_RUNS)
    running = aws_cli.start(*RUN)
    wait_for_training(aws_cli)
    aws.fail("DescribeInstances", "UnauthorizedOperation", status=403)
    done = running.finish(timeout_s=1200)
    assert done.code == 5, done.stderr
    assert "MAY STILL BE BILLED" in done.stderr
    run = only_run(aws_cli)
    assert run["state"] == "unconfirmed"
    assert run["evidence"][-1]["confirmed"] is False

    aws.heal()
    again = aws_cli.run("reconcile", timeout_s=600)
    assert again.code == 0, again.stderr
    run = only_run(aws_cli)
    assert run["state"] == "succeeded"
    assert run["evidence"][-1]["confirmed"] is True
    assert aws.instances() == []


def test_credentials_that_expire_in_mid_run_are_missed_at_the_teardown_alone(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=WHILE_IT_RUNS)
    running = aws_cli.start(*RUN)
    wait_for_training(aws_cli)
    aws.expire_credentials()
    told = running.place / "err"
    wait_for(lambda: "NOT CONFIRMED" in told.read_text(), what="a teardown that is refused", timeout_s=1200)
    (instance,) = aws.instances()
    # The user renews them, while the teardown is still trying.
    aws.heal()
    done = running.finish(timeout_s=900)
    assert done.code == 0, done.stderr
    run = only_run(aws_cli)
    assert run["state"] == "succeeded"
    assert [answer["confirmed"] for answer in run["evidence"]][-1] is True
    assert any(instance.instance_id in call.instance_ids for call in aws.calls("TerminateInstances"))
    assert any((tmp_path / "home" / "runs" / run["run_id"]).rglob("*.safetensors"))
    assert_cost_is_price_times_time(run, PRICE)


def test_credentials_that_stay_expired_leave_a_run_that_nobody_claims_is_gone(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=WHILE_IT_RUNS)
    running = aws_cli.start(*RUN, TUNEFARE_IDLE_MINUTES_TO_AUTOSTOP="60")
    wait_for_training(aws_cli)
    # The machine itself, whose rights are its own, would end long after this.
    aws.expire_credentials()
    done = running.finish(timeout_s=1500)
    assert done.code == 5, done.stderr
    assert "MAY STILL BE BILLED" in done.stderr
    run = only_run(aws_cli)
    assert run["state"] == "unconfirmed"
    assert not any(answer["confirmed"] for answer in run["evidence"])
    (instance,) = aws.instances()
    assert instance.tags["tunefare-run"] == run["run_id"]
    aws.heal()
    again = aws_cli.run("reconcile", timeout_s=600)
    assert again.code == 0, again.stderr
    run = only_run(aws_cli)
    assert run["state"] == "succeeded"
    assert run["evidence"][-1]["confirmed"] is True
    assert aws.instances() == []
    assert_cost_is_price_times_time(run, PRICE)


def test_throttling_for_two_minutes_does_not_disturb_a_run(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=WHILE_IT_RUNS)
    running = aws_cli.start(*RUN)
    wait_for_training(aws_cli)
    # The training ends before the throttling does: the teardown meets it.
    begun = len(aws.api_log())
    aws.throttle(120)
    done = running.finish(timeout_s=1200)
    assert done.code == 0, done.stderr
    assert {call.status for call in aws.api_log()[begun:] if call.fault} == {429, 503}
    run = only_run(aws_cli)
    assert run["state"] == "succeeded"
    assert run["evidence"][-1]["confirmed"] is True
    assert_cost_is_price_times_time(run, PRICE)
    assert aws.instances() == []


def test_a_machine_whose_client_is_dead_ends_itself_when_idle(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=WHILE_IT_RUNS)
    running = aws_cli.start(*RUN, TUNEFARE_IDLE_MINUTES_TO_AUTOSTOP="1")
    wait_for_training(aws_cli)
    running.process.kill()
    running.finish()
    aws.api_stop()
    wait_for(lambda: aws.instances() == [], what="the machine to end itself", timeout_s=900)
    (ended,) = [call for call in aws.calls("TerminateInstances") if call.key_id.startswith("ASIA")][-1:]
    assert ended.status == 200

    done = aws_cli.run("reconcile", timeout_s=600)
    run = only_run(aws_cli)
    assert run["evidence"][-1]["confirmed"] is True
    assert_cost_is_price_times_time(run, PRICE)
    assert done.code in (0, 1), done.stderr
