"""What SkyPilot tells of a managed job, for the tests of its launch, its way and its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from manager.launch.engine import Handle, LaunchRequest
from tasks.job import StoreChoice
from tests.support.sky_stage import Stage, offer

CAN: dict[str, Any] = {"api_server_is_local": True, "is_running": True, "is_consolidated": True, "is_configured": True}
CANNOT = {**CAN, "is_consolidated": False, "is_configured": False}
FIRST = {
    "from_s": 1010.0,
    "to_s": None,
    "cloud": "aws",
    "region": "us-east-1",
    "zone": "us-east-1a",
    "instance_type": "g6.xlarge",
    "price_usd_per_hour": 0.36,
    "is_up": True,
}
SECOND = {**FIRST, "from_s": 1700.0, "region": "us-west-2", "zone": "us-west-2b", "price_usd_per_hour": 0.4}
LOST = {**FIRST, "to_s": 1610.0}
NO_JOB: dict[str, Any] = {"existed": False, "cancelled_requests": []}
CANCELLED: dict[str, Any] = {"existed": True, "cancelled_requests": []}
NOTHING: dict[str, Any] = {"launches": [], "job": None, "cluster": None, "provider": None, "instances": None}
GONE: dict[str, Any] = {"job": None, "cluster": None, "machines": []}


def job(status: str, recoveries: int = 0, *, reason: str | None = None) -> dict[str, Any]:
    is_over = status in {"SUCCEEDED", "CANCELLED"} or status.startswith("FAILED")
    told = {"job_id": 7, "name": "tf-demo-1", "status": status, "is_over": is_over, "recoveries": recoveries}
    return {**told, "reason": reason, "submitted_at_s": 1000.0, "ended_at_s": None}


def answer(status: str, *machines: dict[str, Any], recoveries: int = 0, cluster: str | None = "UP") -> dict[str, Any]:
    return {
        "result": {
            "job": job(status, recoveries),
            "cluster": None if cluster is None else {"name": "tf-demo-1-7", "status": cluster},
            "machines": list(machines),
        }
    }


def spot(stage: Stage, *offers: Any, **changes: Any) -> LaunchRequest:
    known = offers or (
        offer("g6.xlarge", "0.36", cloud="aws", region="us-east-1", use_spot=True, accelerator="L4"),
        offer("g6.xlarge", "0.40", cloud="aws", region="us-west-2", use_spot=True, accelerator="L4"),
        offer("g6.xlarge", "0.80", cloud="aws", region="us-east-1", use_spot=False, accelerator="L4"),
    )
    request = stage.request(*known, **changes)
    store = StoreChoice(uri=f"file://{stage.folder}/bucket/demo-1")
    guard = replace(request.job.guard, max_usd=4.0)
    return replace(request, job=replace(request.job, store=store, guard=guard))


def launch(stage: Stage, request: LaunchRequest | None = None) -> Handle:
    request = request or spot(stage)
    return stage.engine.submit(request, stage.engine.reserve(request)).handle


def running(stage: Stage, *answers: dict[str, Any], **moves: list[dict[str, Any]]) -> Handle:
    """A managed job that runs; the first of the answers is the launch's."""
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=list(answers),
        **moves,
    )
    return launch(stage)
