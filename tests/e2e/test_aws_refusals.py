"""What AWS refuses before a machine is there: the next zone, region or kind of offer, or an end that costs nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.aws_lab import AwsLab
from tests.e2e.aws_lab.catalogs import price_usd_per_hour
from tests.support.aws_stage import RUN, assert_cost_is_price_times_time, only_run, write_aws_job
from tests.support.cli import Cli

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.timeout(1800)]

NO_CAPACITY = "InsufficientInstanceCapacity"


@pytest.mark.parametrize("code", [NO_CAPACITY, "VcpuLimitExceeded"])
def test_an_offer_that_is_refused_everywhere_ends_without_a_machine(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path, code: str
) -> None:
    regions = ("us-east-1", "us-west-2")
    write_aws_job(tmp_path, tiny_model, regions=regions)
    aws.fail("RunInstances", code)
    begun, before = len(aws.api_log()), aws.instances(terminated=True)
    done = aws_cli.run(*RUN, timeout_s=900)
    assert done.code == 3, done.stderr

    asked = [call for call in aws.api_log()[begun:] if call.action == "RunInstances"]
    assert {call.region for call in asked} == set(regions)
    assert {call.fault for call in asked} == {code}
    assert aws.instances(terminated=True) == before
    run = only_run(aws_cli)
    assert run["state"] == "no_capacity"
    assert not run["cost_usd"] or Decimal(str(run["cost_usd"])) == 0


@pytest.mark.slow
def test_refusals_of_spot_region_and_zone_lead_to_the_next_machine(
    aws_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, spot=True, regions=("us-east-1", "us-west-2"))
    aws.fail("RunInstances", "MaxSpotInstanceCountExceeded", spot=True)
    aws.fail("RunInstances", NO_CAPACITY, region="us-east-1")
    aws.fail("RunInstances", NO_CAPACITY, zone="us-west-2a")
    begun = len(aws.api_log())
    done = aws_cli.run(*RUN, timeout_s=1500)
    assert done.code == 0, done.stderr

    asked = [call for call in aws.api_log()[begun:] if call.action == "RunInstances"]
    refused, (taken,) = asked[:-1], asked[-1:]
    assert all(call.fault for call in refused)
    assert (taken.instance_type, taken.region, taken.spot, taken.fault) == ("g6.xlarge", "us-west-2", False, None)
    assert taken.zone not in (None, "us-west-2a")
    # Cheapest first: spot in each region, then on demand; each zone of a region before the next region.
    assert list(dict.fromkeys((call.spot, call.region) for call in asked)) == [
        (True, "us-east-1"),
        (True, "us-west-2"),
        (False, "us-east-1"),
        (False, "us-west-2"),
    ]
    assert {call.zone for call in refused if not call.spot and call.region == "us-east-1"} >= {
        "us-east-1a",
        "us-east-1b",
    }
    run = only_run(aws_cli)
    assert run["state"] == "succeeded"
    assert len(run["failed_attempts"]) == 3
    assert_cost_is_price_times_time(run, price_usd_per_hour("g6.xlarge", "us-west-2"))
    assert aws.instances() == []
