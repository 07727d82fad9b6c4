"""SkyPilot's table of clusters under the tag."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.launch.inventory import RentedKind
from manager.launch.sky_inventory import find_clusters
from manager.launch.sky_worker import SkyWorker
from tests.support.sky_stage import FAKE

CLUSTER: dict[str, Any] = {
    "name": "tf-over-1",
    "status": "UP",
    "run_id": "over-1",
    "cloud": "gcp",
    "region": "us-central1",
    "instance_type": "a2-highgpu-1g",
    "nodes": 2,
    "price_usd_per_hour": 7.35,
    "launched_at_s": 1000.0,
}


def ask(folder: Path, move: dict[str, Any], timeout_s: float = 30.0) -> Any:
    (folder / "scenario.json").write_text(json.dumps({"clusters": [move]}))
    command = (sys.executable, str(FAKE), str(folder))
    return find_clusters(worker=lambda: SkyWorker(command=command), timeout_s=timeout_s)


def test_a_cluster_has_its_run_and_what_it_costs_while_it_is_up(tmp_path: Path) -> None:
    (item,) = ask(tmp_path, {"result": {"clusters": [CLUSTER]}}).items
    assert (item.kind, item.cloud, item.region, item.id) == (RentedKind.CLUSTER, "gcp", "us-central1", "tf-over-1")
    assert (item.run_id, item.name, item.state) == ("over-1", "2x a2-highgpu-1g", "UP")
    assert item.usd_per_month == Decimal("7.35") * 730
    assert item.remove_command == "sky down tf-over-1"


def test_unknown_prices_stay_unknown(tmp_path: Path) -> None:
    records = [{**CLUSTER, "price_usd_per_hour": price} for price in (None, 0.0)]
    records.append({**CLUSTER, "status": "STOPPED"})
    found = ask(tmp_path, {"result": {"clusters": records}})
    assert [item.usd_per_month for item in found.items] == [None, None, None]


def test_a_skypilot_that_fails_or_hangs_is_silent(tmp_path: Path) -> None:
    failed = ask(tmp_path, {"error": ["RuntimeError", "the API server is gone"]})
    assert (failed.items, failed.silent) == ((), {"skypilot": "SkyPilot: the API server is gone"})
    hung = ask(tmp_path, {"hang": True}, timeout_s=3.0)
    assert hung.silent == {"skypilot": "SkyPilot: no answer to 'clusters' within 3 s"}


def test_a_managed_job_that_has_not_ended_is_left_too(tmp_path: Path) -> None:
    job = {"job_id": 7, "name": "tf-over-1", "status": "RECOVERING", "is_over": False, "submitted_at_s": 1000.0}
    untagged = {**job, "run_id": None}
    shortened = {**untagged, "name": "tf-a-run-with-a-long-nam-0123abcd"}
    moves = {"clusters": [{"result": {"clusters": []}}], "managed_jobs": [{"result": {"jobs": [untagged, shortened]}}]}
    (tmp_path / "scenario.json").write_text(json.dumps(moves))
    command = (sys.executable, str(FAKE), str(tmp_path))
    first, second = find_clusters(worker=lambda: SkyWorker(command=command), timeout_s=30).items
    # Whose it is a name does not say: it may be shortened.
    assert (first.name, first.state, first.run_id) == ("managed job", "RECOVERING", None)
    assert first.remove_command == "sky jobs cancel -n tf-over-1"
    assert second.run_id is None
