"""The guards on an emulated AWS: each alone keeps the longest duration, seen in the log of the API and in the bill."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.aws_lab import ApiCall, AwsLab
from tests.e2e.aws_lab.catalogs import price_usd_per_hour
from tests.e2e.aws_lab.layout import CLIENT_KEY_ID, ROLE_KEY_ID
from tests.support.aws_stage import LONG, RUN, assert_cost_is_price_times_time, only_run, wait_for_state, write_aws_job
from tests.support.cli import Cli, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.slow, pytest.mark.timeout(1800)]

LIMIT_S = 420.0
HEARTBEAT_S = 10.0
PRICE = price_usd_per_hour("g6.xlarge", "us-east-1")
SETTINGS = {"TUNEFARE_LONGEST_RUN_HOURS": f"{LIMIT_S / 3600}", "TUNEFARE_HEARTBEAT_S": f"{HEARTBEAT_S:.0f}"}


@pytest.fixture
def hasty_cli(aws_cli: Cli) -> Cli:
    return replace(aws_cli, environment={**aws_cli.environment, **SETTINGS})


def first_end(aws: AwsLab, begun: int) -> ApiCall:
    """The first order to end an instance that was heeded, since a length of the log."""
    return next(call for call in aws.api_log()[begun:] if call.action == "TerminateInstances" and call.status == 200)


def assert_limit_is_kept(run: dict[str, Any], ended: ApiCall) -> None:
    """By the provider's log and by the ledger: over the limit by one heartbeat's price at most."""
    longest_s = LIMIT_S + HEARTBEAT_S
    assert 0 < ended.at_s - run["billing_started_at_s"] <= longest_s
    assert run["billing_ended_at_s"] - run["billing_started_at_s"] <= longest_s
    assert Decimal(str(run["cost_usd"])) <= PRICE * Decimal(longest_s) / 3600
    assert_cost_is_price_times_time(run, PRICE)


@pytest.mark.parametrize("guard", ["trainer", "home"])
def test_each_guard_alone_keeps_the_longest_duration(
    hasty_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path, guard: str
) -> None:
    write_aws_job(tmp_path, tiny_model, training=LONG)
    begun = len(aws.api_log())
    others = ",".join(name for name in ("machine", "trainer", "home") if name != guard)
    done = hasty_cli.run(*RUN, "--requote", "continue", TUNEFARE_WITHOUT_GUARDS=others, timeout_s=1200)
    assert done.code == 4, done.stderr
    run = only_run(hasty_cli)
    assert "train" in run["event_counts"]
    ended = first_end(aws, begun)
    assert ended.key_id == CLIENT_KEY_ID
    assert_limit_is_kept(run, ended)
    assert run["evidence"][-1]["confirmed"] is True
    assert aws.instances() == []


def test_the_timer_alone_terminates_the_instance_with_the_rights_of_its_role(
    hasty_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, training=LONG)
    begun = len(aws.api_log())
    running = hasty_cli.start(*RUN, "--requote", "continue", TUNEFARE_WITHOUT_GUARDS="trainer,home")
    wait_for_state(hasty_cli, "running", timeout_s=LIMIT_S)
    (instance,) = aws.instances()
    running.process.kill()
    running.finish()
    # SkyPilot's server is gone too, and the user's credentials would not help.
    aws.api_stop()
    aws.expire_credentials()
    wait_for(lambda: not aws.instances(), what="the end of the instance", timeout_s=LIMIT_S + 60)
    ended = [call for call in aws.api_log()[begun:] if call.action == "TerminateInstances" and call.status == 200]
    assert [call.key_id for call in ended] == [ROLE_KEY_ID]
    assert ended[0].instance_ids == (instance.instance_id,)
    aws.heal()
    done = hasty_cli.run("reconcile", timeout_s=600)
    assert "Traceback" not in done.stderr
    run = only_run(hasty_cli)
    assert run["evidence"][-1]["confirmed"] is True
    assert_limit_is_kept(run, ended[0])
