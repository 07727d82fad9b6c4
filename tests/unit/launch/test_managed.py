"""A spot run as a managed job: what SkyPilot is asked for, what of its answers is told, and how the job ends."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError, NothingFitsError
from manager.launch.engine import MachineState, SpotRecovery
from manager.launch.managed import NO_MANAGED, RecoveringSkyEngine
from manager.launch.managed_answers import unasked_clouds
from manager.launch.managed_check import managed_of
from manager.launch.managed_record import DEAREST, MANAGED_FILE, read_managed
from manager.launch.sky_worker import SkyPilotError
from tasks.job import parse_job
from tasks.stop_request import STOP_OBJECT
from tasks.stores.opening import open_store
from tests.support.sky_stage import LAUNCHED, Stage, offer
from tests.unit.launch.managed_stage import (
    CAN,
    CANCELLED,
    CANNOT,
    FIRST,
    GONE,
    LOST,
    NO_JOB,
    NOTHING,
    SECOND,
    answer,
    launch,
    running,
    spot,
)

ENGINE = RecoveringSkyEngine


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
        managed_cancel=[{"result": NO_JOB}],
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
        managed_cancel=[{"result": NO_JOB} if ends else {"error": ["RuntimeError", "no"]}],
        launch=[{"result": LAUNCHED}],
    )
    request = spot(stage)
    if not ends:
        with pytest.raises(EngineError, match="could not be ended"):
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
        managed_job=[{"result": GONE}],
        managed_cancel=[{"result": NO_JOB}],
    )
    with pytest.raises(EngineError):
        launch(stage)
    assert stage.calls("managed_cancel") == [["managed_cancel", {"name": "tf-demo-1"}]]


def test_a_price_that_is_unknown_of_the_machine_now_leaves_the_offers(stage: Stage) -> None:
    second = {**SECOND, "price_usd_per_hour": None}
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("RUNNING", LOST, second, recoveries=1)],
    )
    request = spot(stage)
    taken = stage.engine.submit(request, stage.engine.reserve(request)).offer
    assert (taken.region, taken.price_usd_per_hour) == ("us-west-2", Decimal("0.40"))


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


def test_a_graceful_stop_is_a_request_in_the_bucket(stage: Stage) -> None:
    handle = running(stage, answer("RUNNING", FIRST), answer("RUNNING", FIRST), answer("SUCCEEDED", FIRST))
    stage.engine.cancel(handle, grace_s=60)
    assert open_store(f"file://{stage.folder}/bucket/demo-1").get_bytes(STOP_OBJECT)
    assert not stage.calls("managed_cancel")


def test_a_trainer_that_does_not_stop_is_cancelled(stage: Stage) -> None:
    handle = running(stage, answer("RUNNING", FIRST), managed_cancel=[{"result": CANCELLED}])
    stage.engine.cancel(handle, grace_s=0.2)
    assert stage.calls("managed_cancel")


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


def test_a_machine_on_demand_after_failed_spot_answers_every_thread(stage: Stage) -> None:
    """The take-down of the managed job had made the worker one thread's own."""
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"error": ["ResourcesUnavailableError", "no spot"]}],
        down=[{"result": {"existed": False}}],
        launch=[{"result": LAUNCHED}],
        status=[{"result": {"cluster": "UP", "job": "RUNNING"}}],
        cancel=[{"result": {}}],
    )
    request = spot(stage)
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    said: list[object] = []

    def another() -> None:
        said.append(stage.engine.status(handle))
        try:
            stage.engine.fetch(handle)
        except EngineError as error:
            said.append(error.message)

    thread = threading.Thread(target=another)
    thread.start()
    thread.join(30)
    assert said == [MachineState.RUNNING]


def test_a_machine_of_another_region_has_its_own_price(stage: Stage) -> None:
    """While SkyPilot looks for a place, the time from which it counts stays, and the place changes."""
    dear = {**FIRST, "region": "us-west-2", "zone": "us-west-2b", "price_usd_per_hour": 0.4}
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[answer("STARTING", FIRST, cluster="INIT"), answer("RUNNING", dear)],
    )
    request = spot(stage)
    launched = stage.engine.submit(request, stage.engine.reserve(request))
    assert (launched.offer.region, launched.offer.price_usd_per_hour) == ("us-west-2", Decimal("0.4"))
    assert isinstance(stage.engine, RecoveringSkyEngine)
    times = stage.engine.machines(launched.handle)
    assert times is not None
    assert [(one.region, one.price_usd_per_hour) for one in times.machines] == [("us-west-2", Decimal("0.4"))]


@pytest.mark.parametrize(
    ("is_up", "instances", "is_counted"), [(True, {}, True), (False, {"i-1": "INIT"}, True), (False, {}, False)]
)
def test_spot_machines_before_one_on_demand_are_counted(
    stage: Stage, is_up: bool, instances: dict[str, str], is_counted: bool
) -> None:
    """SkyPilot counts the time from when it looks for a place: that alone is no machine."""
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[
            answer("STARTING", {**FIRST, "is_up": is_up}, cluster="INIT"),
            answer("FAILED_NO_RESOURCE", {**LOST, "is_up": False}, cluster=None),
        ],
        managed_left=[{"result": {"instances": instances}}],
        managed_cancel=[{"result": NO_JOB}],
        launch=[{"result": LAUNCHED}],
    )
    request = spot(stage)
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    assert isinstance(stage.engine, RecoveringSkyEngine)
    had = [(one.from_s, one.to_s, one.price_usd_per_hour) for one in stage.engine.given_back(handle)]
    assert had == [(1010.0, 1610.0, Decimal("0.36"))] * is_counted


def test_after_spot_that_failed_a_broken_launch_on_demand_has_a_known_bill(stage: Stage) -> None:
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"result": {"job_id": 7}}],
        managed_job=[
            answer("STARTING", FIRST, cluster="INIT"),
            answer("FAILED_NO_RESOURCE", {**LOST, "is_up": False}, cluster=None),
        ],
        managed_left=[{"result": {"instances": {}}}],
        managed_cancel=[{"result": NO_JOB}],
        launch=[{"error": ["ConnectionError", "the API server is gone"]}],
        provider=[{"result": {"existed": True, "provider": None}}],
        down=[{"result": {"existed": True}}],
    )
    ticks = itertools.count(2000.0, 90.0)
    stage.engine._clock = lambda: next(ticks)
    request = spot(stage)
    handle = stage.engine.reserve(request)
    with pytest.raises(SkyPilotError):
        stage.engine.submit(request, handle)
    assert isinstance(stage.engine, RecoveringSkyEngine)
    times = stage.engine.machines(handle)
    assert times is not None
    billed = [one for one in times.machines if one.to_s != one.from_s]
    assert [one.price_usd_per_hour for one in billed] == [Decimal("0.36"), Decimal("0.80")]


def test_clouds_where_spot_was_only_looked_for_are_not_asked_at_the_end(stage: Stage) -> None:
    on_gcp = {"name": "gcp", "name_on_cloud": "tf", "config": {}}
    stage.play(
        managed_mode=[{"result": CAN}],
        managed_launch=[{"error": ["ResourcesUnavailableError", "no spot"]}],
        launch=[{"result": {**LAUNCHED, "provider": on_gcp}}],
        evidence=[{"result": {"cluster": None, "launches": [], "provider": "gcp", "instances": {}}}],
    )
    request = spot(
        stage,
        offer("g2", "0.2", cloud="gcp", region="europe-west4", use_spot=True, accelerator="L4"),
        offer("vm", "0.2", cloud="lambda", region="us-south-1", use_spot=True, accelerator="L4"),
        offer("g2", "0.7", cloud="gcp", region="us-central1", use_spot=False, accelerator="L4"),
    )
    handle = stage.engine.submit(request, stage.engine.reserve(request)).handle
    assert stage.engine.evidence(handle).confirmed


@pytest.mark.parametrize(("provider", "silent"), [("aws", {"gcp"}), ("gcp", set())])
def test_one_cloud_does_not_answer_for_another(stage: Stage, provider: str, silent: set[str]) -> None:
    on_gcp = {**LOST, "cloud": "gcp", "region": "us-central1"}
    handle = running(stage, answer("RUNNING", on_gcp, SECOND))
    record = read_managed(Path(handle.run_dir))
    assert record is not None
    assert unasked_clouds(None, record, {**NOTHING, "provider": provider, "instances": {}}) == silent
