"""A spot run as a managed job: what SkyPilot is asked for, what of its answers is told, and how the job ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, NothingFitsError
from manager.launch.engine import Handle, LaunchRequest, MachineNews, MachineState, SpotRecovery
from manager.launch.managed import NO_MANAGED, RecoveringSkyEngine
from manager.launch.managed_check import managed_of
from manager.launch.managed_record import DEAREST, MANAGED_FILE, read_managed
from tasks.job import StoreChoice, parse_job
from tasks.protocol import Event
from tasks.stop_request import STOP_OBJECT
from tasks.stores.event_parts import put_part
from tasks.stores.opening import open_store
from tests.support.sky_stage import LAUNCHED, Stage, event_line, log_line, offer

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


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, kind=RecoveringSkyEngine)
    yield made
    made.engine.close()


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


def test_a_spot_run_with_a_bucket_is_a_managed_job(stage: Stage) -> None:
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[
            answer("PENDING", cluster=None),
            answer("STARTING", FIRST, cluster="INIT"),
            answer("RUNNING", FIRST),
        ],
    )
    request = spot(stage)
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert launched.billing_started_at_s == 1010.0
    assert (launched.offer.region, launched.offer.price_usd_per_hour) == ("us-east-1", Decimal("0.36"))
    assert launched.handle.details[DEAREST] == "0.40"
    (sent,) = stage.calls("managed_launch")
    task = sent[1]["task"]
    asked = task["resources"]["ordered"]
    assert [one["infra"] for one in asked] == ["aws/us-east-1", "aws/us-west-2"]
    assert all(one["use_spot"] and "autostop" not in one for one in asked)
    assert {one["job_recovery"]["strategy"] for one in asked} == {"EAGER_NEXT_REGION"}
    assert not stage.calls("launch")


def test_all_machines_of_a_run_count_from_its_start_at_the_dearest_price(stage: Stage) -> None:
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("RUNNING", FIRST)],
    )
    launch(stage)
    written = parse_job((stage.folder / "run" / "upload" / "job.json").read_text())
    assert written.guard.billing_started_s == 1000.0
    assert written.guard.price_usd_per_hour == 0.40
    assert written.store is not None
    assert written.store.stop_poll_s == 5.0
    (sent,) = stage.calls("managed_launch")
    envs = sent[1]["task"]["envs"]
    # $4 buys ten hours of the dearest; two minutes of them are the controller's.
    assert float(envs["TUNEFARE_END_AT"]) == 1000 + 36_000 - 120
    assert float(envs["TUNEFARE_ALLOWED_S"]) == 36_000 - 120
    assert float(envs["TUNEFARE_LAUNCH_TIMEOUT_S"]) >= 36_000


@pytest.mark.parametrize("what", ["no bucket", "on demand", "not wanted"])
def test_other_runs_stay_plain_clusters(stage: Stage, what: str) -> None:
    stage.play(launch=[{"result": LAUNCHED}])
    request = spot(stage)
    if what == "no bucket":
        request = replace(request, job=replace(request.job, store=None))
    elif what == "on demand":
        request = replace(request, offers=request.offers[2:])
    else:
        request = replace(request, spot_recovery=SpotRecovery.NONE)
    launch(stage, request)
    assert not stage.calls("managed_mode", "managed_launch")
    assert not (stage.folder / "run" / MANAGED_FILE).exists()


def test_where_a_controller_would_be_rented_the_run_is_a_plain_cluster_and_says_so(stage: Stage) -> None:
    stage.play(managed_mode=[{"result": CANNOT}], launch=[{"result": LAUNCHED}])
    request = spot(stage)
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert launched.failed_attempts[0] == NO_MANAGED
    assert not stage.calls("managed_launch")


def test_no_capacity_is_no_capacity(stage: Stage) -> None:
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("FAILED_NO_RESOURCE", cluster=None)],
        managed_cancel=[{"result": {"existed": False}}],
    )
    with pytest.raises(NothingFitsError):
        launch(stage, replace(spot(stage), offers=spot(stage).offers[:2]))


@pytest.mark.parametrize("ends", [True, False])
def test_where_spot_is_gone_everywhere_a_machine_on_demand_is_taken_once_the_job_is_gone(
    stage: Stage, ends: bool
) -> None:
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("FAILED_NO_RESOURCE", cluster=None)],
        managed_cancel=[{"result": {"existed": False}} if ends else {"error": ["RuntimeError", "no"]}],
        launch=[{"result": LAUNCHED}],
    )
    request = spot(stage)
    if not ends:
        with pytest.raises(NothingFitsError):
            stage.engine.submit(request, stage.engine.reserve(request))
        assert not stage.calls("launch")
        return
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    ((_, sent),) = stage.calls("launch")
    assert "use_spot" not in sent["task"]["resources"]
    assert launched.failed_attempts[0].startswith("spot: no offer had capacity")
    assert not (stage.folder / "run" / MANAGED_FILE).exists()


def test_a_launch_that_is_broken_off_ends_the_job(stage: Stage) -> None:
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"error": ["RuntimeError", "the server is gone"]}],
        managed_job=[{"result": {"job": None, "cluster": None, "machines": []}}],
        managed_cancel=[{"result": {"existed": False}}],
    )
    with pytest.raises(EngineError):
        launch(stage)
    assert stage.calls("managed_cancel") == [["managed_cancel", {"name": "tf-demo-1"}]]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PENDING", MachineState.STARTING),
        ("RECOVERING", MachineState.STARTING),
        ("RUNNING", MachineState.RUNNING),
        ("SUCCEEDED", MachineState.SUCCEEDED),
        ("FAILED_SETUP", MachineState.SETUP_FAILED),
        ("FAILED_CONTROLLER", MachineState.FAILED),
        ("CANCELLED", MachineState.FAILED),
    ],
)
def test_states(stage: Stage, status: str, state: MachineState) -> None:
    handle = running(stage, answer("RUNNING", FIRST), answer(status, FIRST))
    assert stage.engine.status(handle) is state


def running(stage: Stage, *answers: dict[str, Any], **moves: list[dict[str, Any]]) -> Handle:
    """A managed job that runs; the first of the answers is the launch's."""
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=list(answers),
        **moves,
    )
    return launch(stage)


def test_a_replaced_machine_is_told_once_and_events_come_from_the_bucket(stage: Stage) -> None:
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        answer("RECOVERING", LOST, cluster=None),
        answer("RECOVERING", LOST, cluster=None),
        answer("RUNNING", LOST, SECOND, recoveries=1),
        answer("SUCCEEDED", LOST, SECOND, recoveries=1),
        managed_tail=[{"lines": [log_line(0), "(tf-demo-1, pid=7) hello"], "result": {}}, {"result": {}}],
    )
    store = open_store(f"file://{stage.folder}/bucket/demo-1")
    put_part(store, [_event(0), _event(1), _event(2)])
    items = list(stage.engine.stream(handle, after_seq=-1))
    assert [item.seq for item in items if isinstance(item, Event)] == [0, 1, 2]
    assert "hello" in items
    news = [item.words for item in items if isinstance(item, MachineNews)]
    assert len(news) == 2
    assert news[0].startswith("preempted: g6.xlarge in aws us-east-1a, spot, $0.36/h is gone after 10")
    assert news[1].startswith("recovered (1 in all): goes on with g6.xlarge in aws us-west-2b, spot, $0.4")
    record = read_managed(Path(handle.run_dir))
    assert record is not None
    assert record.recoveries_told == 1


def test_what_happened_while_nobody_was_at_home_is_told_when_somebody_comes_back(stage: Stage) -> None:
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        answer("SUCCEEDED", LOST, {**SECOND, "to_s": 2000.0}, recoveries=1, cluster=None),
        managed_tail=[{"result": {}}],
    )
    items = list(stage.engine.stream(handle, after_seq=-1))
    (news,) = [item.words for item in items if isinstance(item, MachineNews)]
    assert news.startswith("preempted: g6.xlarge in aws us-east-1a")
    assert "recovered (1 in all)" in news


def test_a_graceful_stop_is_a_request_in_the_bucket(stage: Stage) -> None:
    handle = running(stage, answer("RUNNING", FIRST), answer("RUNNING", FIRST), answer("SUCCEEDED", FIRST))
    stage.engine.cancel(handle, grace_s=60)
    assert open_store(f"file://{stage.folder}/bucket/demo-1").get_bytes(STOP_OBJECT)
    assert not stage.calls("managed_cancel")


def test_a_trainer_that_does_not_stop_is_cancelled(stage: Stage) -> None:
    handle = running(stage, answer("RUNNING", FIRST), managed_cancel=[{"result": {"existed": True}}])
    stage.engine.cancel(handle, grace_s=0.2)
    assert stage.calls("managed_cancel")


def test_down_waits_until_the_controller_has_taken_the_machine_away(stage: Stage) -> None:
    gone = {**FIRST, "to_s": 1500.0}
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        answer("CANCELLING", FIRST),
        answer("CANCELLED", FIRST),
        answer("CANCELLED", gone, cluster=None),
        managed_cancel=[{"result": {"existed": True}}, {"result": {"existed": False}}],
    )
    stage.engine.down(handle)
    assert len(stage.calls("managed_job")) == 4
    assert isinstance(stage.engine, RecoveringSkyEngine)
    times = stage.engine.machines(handle)
    assert times is not None
    assert [(one.from_s, one.to_s) for one in times.machines] == [(1010.0, 1500.0)]


def test_evidence_needs_job_machine_and_provider_to_be_silent(stage: Stage) -> None:
    nothing = {"job": job("CANCELLED"), "cluster": None, "provider": "aws", "instances": {}}
    handle = running(
        stage,
        answer("RUNNING", FIRST),
        managed_left=[
            {"result": {**nothing, "job": job("RECOVERING")}},
            {"result": {**nothing, "instances": {"i-1": "running"}}},
        ],
    )
    assert "managed job 7 (RECOVERING)" in stage.engine.evidence(handle).left
    assert "i-1 (running)" in stage.engine.evidence(handle).left


def test_evidence_is_confirmed_where_all_say_that_nothing_is_left(stage: Stage) -> None:
    elsewhere = {**FIRST, "cloud": "gcp"}
    request = spot(stage, offer("g2", "0.36", cloud="gcp", region="us-east1", use_spot=True))
    nothing = {"job": job("SUCCEEDED"), "cluster": None, "provider": "gcp", "instances": {}}
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("RUNNING", elsewhere)],
        managed_left=[{"result": nothing}, {"result": {**nothing, "instances": None}}],
    )
    handle = launch(stage, request)
    assert stage.engine.evidence(handle).confirmed
    assert not stage.engine.evidence(handle).confirmed


def _event(seq: int) -> Event:
    from tasks.protocol import parse_event

    return parse_event(event_line(seq))


@pytest.mark.parametrize(
    ("told", "can", "word"),
    [
        (CAN, True, "replaces"),
        ({**CAN, "is_running": False, "is_consolidated": False}, True, "replaces"),
        ({**CAN, "is_consolidated": False}, False, "began before"),
        (CANNOT, False, "rent a machine"),
        ({**CAN, "api_server_is_local": False, "is_consolidated": False}, False, "another machine"),
    ],
)
def test_what_is_said_of_skypilots_controller(told: dict[str, Any], can: bool, word: str) -> None:
    found = managed_of(told)
    assert found.can is can
    assert word in found.text
    assert can or found.hint


def test_a_job_whose_folder_is_lost_is_ended_by_its_name(stage: Stage) -> None:
    stage.play(managed_job=[answer("CANCELLED", LOST, cluster=None)], managed_cancel=[{"result": {"existed": True}}])
    folder = stage.folder / "runs"
    folder.mkdir()
    details = {"run_id": "", "managed": True}
    stage.engine.down(Handle(engine="sky", run_dir=str(folder), name="tf-lost-1", details=details))
    assert stage.calls("managed_cancel") == [["managed_cancel", {"name": "tf-lost-1"}]]
    assert not (folder / MANAGED_FILE).exists()
    assert not stage.calls("down")
