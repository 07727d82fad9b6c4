"""What each offer of a launch has of its own: its disk, and the guard with what it costs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.launch.engine import LaunchRequest
from manager.launch.render import render_task
from manager.launch.sky_upload import write_job
from manager.planner.storage import SideUsd
from manager.prices.offer import Offer
from tasks.guard import Guard
from tasks.job import DataChoice, GuardChoice, Job, ModelChoice, parse_job
from tests.support.plan_factory import make_gpu_offer

AWS = make_gpu_offer(price="0.80")
SPOT = make_gpu_offer(price="0.80", cloud="gcp", region="us-central1", spot=True)
SLURM = make_gpu_offer("A100", cloud="slurm", region="lab")


def request(run_dir: Path, *offers: Offer, **changes: Any) -> LaunchRequest:
    job = Job(run_id="demo-1", model=ModelChoice(source="org/model"), data=DataChoice(source="org/data"))
    return LaunchRequest(run_id="demo-1", job=job, run_dir=run_dir, offers=offers, **changes)


def resources(what: Offer, **changes: Any) -> dict[str, Any]:
    task = render_task(request(Path("/r"), what, **changes), upload_dir=Path("/r/upload"))
    found: dict[str, Any] = task["resources"]
    return found


def test_each_offer_has_the_disk_of_the_plan() -> None:
    disks = {AWS.key: 417, SPOT.key: 160}
    task = render_task(request(Path("/r"), AWS, SPOT, disks_gib=disks), upload_dir=Path("/r/upload"))
    assert [one["disk_size"] for one in task["resources"]["ordered"]] == [417, 160]
    assert resources(AWS)["disk_size"] == 128


@pytest.mark.parametrize("cloud", ["kubernetes", "ssh"])
def test_a_node_with_a_disk_of_its_own_is_asked_for_what_is_needed_or_nothing(cloud: str) -> None:
    pod = make_gpu_offer("H100", cloud=cloud, region="lab")
    assert "disk_size" not in resources(pod)
    assert resources(pod, disks_gib={pod.key: 33})["disk_size"] == 33
    # SkyPilot reads its default as nothing asked for.
    assert resources(pod, disks_gib={pod.key: 256})["disk_size"] == 257


def test_slurm_is_asked_for_no_disk() -> None:
    assert "disk_size" not in resources(SLURM)
    assert "disk_size" not in resources(SLURM, disks_gib={SLURM.key: 33})


def test_the_guard_counts_what_is_billed_besides_the_machine(tmp_path: Path) -> None:
    beside = {AWS.key: SideUsd(usd_per_hour=Decimal("0.05"), usd_once=Decimal("1.25"))}
    asked = request(tmp_path, AWS, SPOT, beside=beside, max_duration_s=60.0)
    capped = replace(asked, job=replace(asked.job, guard=GuardChoice(max_usd=5.0, price_usd_per_hour=9.0)))
    found = []
    for taken in (AWS, SPOT):
        write_job(tmp_path, capped, taken, billing_started_s=7.0)
        found.append(parse_job((tmp_path / "job.json").read_text()).guard)
    assert [(guard.price_usd_per_hour, guard.max_usd) for guard in found] == [(0.85, 3.75), (0.8, 5.0)]
    assert {(guard.billing_started_s, guard.max_duration_s) for guard in found} == {(7.0, 60.0)}
    assert Guard(found[0], clock=lambda: 7.0).limit_s == 60.0
    long = replace(found[0], max_duration_s=None)
    assert Guard(long, clock=lambda: 7.0).limit_s == pytest.approx(3.75 / 0.85 * 3600)
    # Less than nothing is never left.
    assert replace(capped, beside={AWS.key: SideUsd(usd_once=Decimal(6))}).guard_on(AWS).max_usd == 0
