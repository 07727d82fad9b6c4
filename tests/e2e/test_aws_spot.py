"""A spot run with a bucket whose machine is taken back: another takes its place, and nothing of the run is lost."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tasks.stores.event_parts import read_parts
from tasks.stores.store import Store
from tests.e2e.aws_lab import AwsLab
from tests.support.aws_stage import only_run, write_aws_job
from tests.support.cli import Cli, wait_for
from tests.support.spot_stage import (
    checkpoints,
    final_scores,
    open_bucket,
    refuse_unhooked_server,
    refuse_unredirected,
    write_bucket,
)

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.timeout(2400)]

SPOT_RUN = ("run", "--on", "aws", "--yes", "--max-usd", "5", "--skip-preflight")
TRAINING = {"epochs": 300, "eval_every_steps": 1000, "checkpoint_every_steps": 200, "log_every_steps": 10}


@pytest.fixture
def spot_cli(aws_cli: Cli, aws: AwsLab) -> Iterator[Cli]:
    """The command line, where SkyPilot's controllers are sure to ask nobody beyond this machine."""
    with aws.managing_jobs():
        refuse_unredirected(aws)
        refuse_unhooked_server(aws)
        yield aws_cli


def test_a_preempted_machine_is_replaced_and_the_run_goes_on(
    spot_cli: Cli, aws: AwsLab, tmp_path: Path, tiny_model: Path
) -> None:
    write_aws_job(tmp_path, tiny_model, spot=True, training=TRAINING)
    bucket = write_bucket(aws, tmp_path)
    begun = len(aws.api_log())
    running = spot_cli.start(*SPOT_RUN, "--json")
    run_id = _run_id(spot_cli)
    store = open_bucket(aws, f"{bucket}/{run_id}")
    # Not by the ledger: it learns of a checkpoint later, and the training is short.
    wait_for(lambda: bool(checkpoints(store)), what="a checkpoint in the bucket", timeout_s=1200)
    assert aws.api_servers()
    refuse_unhooked_server(aws)
    (first,) = aws.instances()
    aws.announce_interruption(first.instance_id, in_s=20)
    wait_for(lambda: "preempted" in _types(store), what="the notice among the events", timeout_s=120)
    aws.terminate(first.instance_id)
    lost_at_s = time.time()
    wait_for(lambda: bool(aws.instances()), what="another machine", timeout_s=600)
    sys.stderr.write(f"another machine after {time.time() - lost_at_s:.0f} s\n")
    done = running.finish(timeout_s=1500)
    sys.stderr.write(f"through after {time.time() - lost_at_s:.0f} s\n{done.stderr[-3000:]}\n")
    assert done.code == 0, done.stderr

    run = only_run(spot_cli)
    assert run["state"] == "succeeded"
    assert run["evidence"][-1]["confirmed"] is True
    assert aws.instances() == []
    rented = [call for call in aws.api_log()[begun:] if call.action == "RunInstances" and call.fault is None]
    assert [call.spot for call in rented] == [True, True]
    ours = [one for one in aws.instances(terminated=True) if one.tags.get("tunefare-run") == run_id]
    assert len(ours) == 2

    events = spot_cli.json_lines("logs", run_id, "--events")
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert [event.seq for event in read_parts(store)] == list(range(len(events)))
    starts = [event["data"] for event in events if event["type"] == "started"]
    assert [one["resumed_from_step"] is None for one in starts] == [True, False]

    told = [change["detail"] or "" for change in run["history"] if change["state"] == "running"]
    # SkyPilot may not have seen the task at work yet: then it is no preemption to it.
    assert any(" is gone" in words for words in told), told
    assert any("recovered" in words for words in told), told
    _assert_bill_is_the_sum_over_machines(tmp_path, run, [call.at_s for call in rented])

    unbroken = final_scores(tmp_path, tiny_model, training=TRAINING)
    scores = json.loads(done.stdout.splitlines()[-1])["report"]["scores"]
    assert {name: score["tuned"] for name, score in scores.items()} == pytest.approx(
        {name: score["tuned"] for name, score in unbroken.items()}
    )


def _run_id(cli: Cli) -> str:
    found: list[str] = []

    def is_known() -> bool:
        time.sleep(2)
        found.extend(run["run_id"] for run in cli.json_lines("runs", "--json"))
        return bool(found)

    wait_for(is_known, what="the run in the ledger", timeout_s=300)
    return found[0]


def _types(store: Store) -> set[str]:
    return {str(event.type) for event in read_parts(store)}


def _assert_bill_is_the_sum_over_machines(folder: Path, run: dict[str, Any], rented_at_s: list[float]) -> None:
    """Each machine from its order on, by its own price; nothing for the time between them."""
    file = folder / "home" / "runs" / run["run_id"] / "managed-job.json"
    machines = json.loads(file.read_text())["machines"]
    assert len(machines) == 2
    for machine, at_s in zip(machines, rented_at_s, strict=True):
        assert 0 <= at_s - machine["from_s"] < 60
    expected = sum(
        Decimal(one["price_usd_per_hour"]) * (Decimal(str(one["to_s"])) - Decimal(str(one["from_s"]))) / 3600
        for one in machines
    )
    assert abs(Decimal(str(run["cost_usd"])) - expected) < Decimal("0.0001")
    assert {one["what"] for one in run["charges"]} <= {"machine", "no machine"}
    assert all(not one["amount_usd"] for one in run["charges"] if one["what"] == "no machine")
