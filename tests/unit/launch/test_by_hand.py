"""What a user is told to type where an end was not confirmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manager.launch.by_hand import commands_by_hand
from manager.launch.engine import Evidence, Handle


def handle(run_dir: Path, engine: str) -> Handle:
    return Handle(engine=engine, run_dir=str(run_dir), name="tf-job", details={})


def left(*names: str) -> Evidence:
    return Evidence(confirmed=False, asked_at_s=1.0, source="process table", answer="left", left=names)


def test_processes_that_are_left_are_killed_by_number(tmp_path: Path) -> None:
    evidence = left("12 python", "345 sleep")
    assert commands_by_hand(handle(tmp_path, "local"), evidence) == ("kill -9 12 345",)


@pytest.mark.parametrize("evidence", [None, left()])
def test_processes_nobody_counted_are_looked_for(tmp_path: Path, evidence: Evidence | None) -> None:
    assert commands_by_hand(handle(tmp_path, "local"), evidence) == ("pgrep -af tf-job",)


FILTERS = (
    "--filters Name=tag:tunefare-run,Values=job "
    "Name=instance-state-name,Values=pending,running,stopping,stopped "
    "--query 'Reservations[].Instances[].InstanceId' --output text)"
)


WEST = {"cloud": "aws", "region": "us-west-2", "provider": None}
LAMBDA = {"cloud": "lambda", "region": "us-south-1", "provider": None}
LOOK_AT_LAMBDA = ("sky status --refresh tf-job", "look for tf-job in the console of lambda")


def by_tag(region: str) -> str:
    where = f"--region {region}"
    return f"aws ec2 terminate-instances {where} --instance-ids $(aws ec2 describe-instances {where} {FILTERS}"


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (None, ("sky status --refresh tf-job",)),
        (
            {"cloud": "aws", "region": "us-east-1", "provider": None},
            (by_tag("us-east-1"),),
        ),
        (
            {"cloud": "aws", "region": "us-east-1", "provider": None, "earlier": [LAMBDA, WEST]},
            (by_tag("us-west-2"), by_tag("us-east-1"), *LOOK_AT_LAMBDA),
        ),
        ({**LAMBDA, "earlier": [WEST]}, (by_tag("us-west-2"), *LOOK_AT_LAMBDA)),
        ({"cloud": "aws", "region": None, "provider": None}, (by_tag("REGION"),)),
        (
            {"cloud": "gcp", "region": "us-central1", "provider": None},
            ("gcloud compute instances list --filter=labels.ray-cluster-name:tf-job",),
        ),
        (
            {"cloud": "slurm", "region": "lab", "provider": {"name_on_cloud": "tf-job-1f"}},
            ("squeue --name tf-job-1f", "scancel --name tf-job-1f"),
        ),
        (
            {"cloud": "nebius", "region": None, "provider": None},
            ("sky status --refresh tf-job", "look for tf-job in the console of nebius"),
        ),
    ],
)
def test_a_cluster_is_taken_down_then_looked_for(
    tmp_path: Path, attempt: dict[str, Any] | None, expected: tuple[str, ...]
) -> None:
    if attempt is not None:
        (tmp_path / "sky-attempt.json").write_text(json.dumps(attempt))
    assert commands_by_hand(handle(tmp_path, "sky"), None) == ("sky down tf-job", *expected)


def test_what_aws_says_is_left_is_ended_by_its_ids(tmp_path: Path) -> None:
    attempt = {"cloud": "aws", "region": "us-east-1", "provider": None}
    (tmp_path / "sky-attempt.json").write_text(json.dumps(attempt))
    evidence = left(
        "tf-job (UP)",
        "aws us-east-1 i-1a (running)",
        "aws us-west-2 i-2b (running)",
        "aws us-east-1 i-3c (stopped)",
        "aws us-east-1 vol-4d (in-use by i-1a)",
    )
    assert commands_by_hand(handle(tmp_path, "sky"), evidence) == (
        "sky down tf-job",
        "aws ec2 terminate-instances --region us-east-1 --instance-ids i-1a i-3c",
        "aws ec2 terminate-instances --region us-west-2 --instance-ids i-2b",
        "aws ec2 delete-volume --region us-east-1 --volume-id vol-4d",
    )
